#!/bin/sh
# A required check that fails in the way a case asked for, in /var/guest/fault.
fault=$(cat /var/guest/fault 2> /dev/null)
trial=0
grep -q gybe.trial=1 /proc/cmdline && trial=1
case $fault:$trial in
    health:1)
        echo "the pump does not answer"
        exit 1
        ;;
    once:1)
        rm /var/guest/fault
        sync
        echo "the pump did not answer yet"
        exit 1
        ;;
    stuck:1)
        # Feeding goes on: only the deadline ends this.
        exec sleep 100000
        ;;
    hang:1)
        # Nobody feeds the watchdog any more.
        echo "guest: hangs after userspace" > /dev/console
        for process in /proc/[0-9]*; do
            if [ "$(cat "$process/comm" 2> /dev/null)" = gybe ]; then
                kill -STOP "${process#/proc/}"
            fi
        done
        exec sleep 100000
        ;;
    slow:1)
        echo "guest: checks are running" > /dev/console
        sleep 60
        ;;
    committed:0)
        echo "the pump does not answer any more"
        exit 1
        ;;
esac
# Every byte of the canary comes through dm-verity.
cat /usr/share/guest/canary > /dev/null
