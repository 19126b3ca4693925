#!/bin/sh
# What udhcpc calls with what it was told: busybox's own way of setting an address.
case $1 in
    bound | renew) ip addr add "$ip/${mask:-24}" dev "$interface" ;;
esac
