#!/bin/sh
# Mounts /var, /etc and the boot environment for the root that is mounted.

/usr/bin/gybe initramfs mount "$NEWROOT" || emergency_shell "The root is not ready."
