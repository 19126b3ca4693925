#!/bin/sh
# Says on the console who runs, and plays the faults that come before any check.
slot=- trial=0
for word in $(cat /proc/cmdline); do
    case $word in
        gybe.slot=*) slot=${word#*=} ;;
        gybe.trial=*) trial=${word#*=} ;;
    esac
done
state=kept
if [ -e /run/gybe/state-lost ]; then state=lost; fi
mkdir -p /var/guest
echo "guest: up release=$(cat /usr/share/guest/version) slot=$slot trial=$trial state=$state"
case $(cat /var/guest/fault 2> /dev/null):$trial in
    panic:1)
        echo "guest: panics"
        echo c > /proc/sysrq-trigger
        ;;
    silent:1)
        echo "guest: waits to be cut"
        while :; do sleep 1000; done
        ;;
esac
