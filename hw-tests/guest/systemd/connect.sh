#!/bin/sh
# Brings the network up, which is masked because nothing waits for it at boot; returns when there is a
# way out.
mkdir -p /run/systemd/network
printf '[Match]\nType=ether\n[Network]\nDHCP=yes\n' > /run/systemd/network/lab.network
systemctl unmask systemd-networkd.service
systemctl start systemd-networkd.service
until grep -q '	00000000	' /proc/net/route; do sleep 1; done
