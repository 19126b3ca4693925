#!/bin/bash
# The agent opens the verified root and makes its mounts. Where systemd in the initramfs knows where
# the hash tree lies behind the data (254 and later), its own generator opens the root, and the
# agent finds that there is nothing left to open.

check() {
    require_binaries gybe || return 1
    return 0
}

depends() {
    local needed="dm"
    if dracut_module_included systemd &&
        [[ $(systemctl --version 2> /dev/null) =~ ^systemd\ ([0-9]+) ]] &&
        ((BASH_REMATCH[1] >= 254)) && dracut_has systemd-veritysetup; then
        needed+=" systemd-veritysetup"
    fi
    echo "$needed"
}

# Whether this dracut has a module, whatever its number.
dracut_has() {
    compgen -G "${dracutbasedir:-/usr/lib/dracut}/modules.d/[0-9][0-9]*$1" > /dev/null
}

installkernel() {
    # What the build host has says nothing about the machines that the image is for.
    hostonly='' instmods erofs overlay dm_mod dm_verity ext4 vfat \
        nls_ascii nls_cp437 nls_iso8859-1 nls_utf8 \
        virtio_blk virtio_pci virtio_mmio virtio_scsi nvme mmc_block sd_mod ahci usb_storage uas \
        =drivers/mmc/host
}

install() {
    inst_multiple gybe modprobe
    inst_multiple -o /usr/lib/gybe/*.toml /usr/lib/gybe/*.pub /etc/fw_env.config
    if dracut_module_included systemd; then
        local unit
        for unit in open mount; do
            inst_simple "$moddir/gybe-initramfs-$unit.service" \
                "$systemdsystemunitdir/gybe-initramfs-$unit.service"
        done
        $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-device.target \
            gybe-initramfs-open.service
        $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target \
            gybe-initramfs-mount.service
    else
        inst_hook initqueue/settled 10 "$moddir/gybe-open.sh"
        inst_hook pre-pivot 10 "$moddir/gybe-mount.sh"
    fi
}
