#!/bin/sh
# Brings the network up.
ip link set lo up
ip link set eth0 up
udhcpc -q -n -i eth0 -s /usr/lib/guest/dhcp.sh
