#!/bin/bash
# redundant-u-boot.sh DEST: builds DEST/machines/u-boot/redundant/u-boot.bin, a U-Boot for QEMU's arm64
# `virt` as a board has it: with a redundant environment, the `hash` command and EROFS. Debian's own
# has none of them.
#
# The two copies of the environment are the files uboot.env and uboot-redund.env in the first partition
# of the first virtio disk, and not on the board's flash: there the guest's agent reaches them, too
# (Debian's kernel for arm64 has no driver for that flash). When U-Boot first looks for its environment
# no disk is known yet; so the built-in start command loads it again, then boot.scr from the same place.
#
# Built from the source of Debian 13's package, without what needs more than a compiler, bison, flex and
# OpenSSL's headers: about 45 s of processor time. What is there in this version stays.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/apt-private.sh"
dest=$(realpath -m "${1:?usage: redundant-u-boot.sh DEST}")
version=2025.01
recipe="$version 3"
work=$dest/machines/partial-u-boot
if [[ -e $dest/machines/u-boot/redundant/u-boot.bin &&
    $(cat "$dest/versions/u-boot-redundant" 2>/dev/null) == "$recipe" ]]; then exit; fi

rm -rf "$work"
mkdir -p "$work/source" "$dest/versions" "$dest/machines/u-boot/redundant"
private_apt "$work/apt" trixie
sed -i 's/^deb /deb-src /' "$work/apt/sources.list"
apt-get "${APT[@]}" update -qq
# What Debian changes is of no use here; the archive of the release is checked like any package.
(cd "$work" && apt-get "${APT[@]}" source -qq --tar-only u-boot)
tar -x -f "$work"/u-boot_$version.orig.tar.* -C "$work/source" --strip-components=1
cd "$work/source"
cat configs/qemu_arm64_defconfig - > configs/gybe_defconfig <<'END'
# CONFIG_ENV_IS_IN_FLASH is not set
CONFIG_ENV_IS_IN_FAT=y
CONFIG_ENV_FAT_INTERFACE="virtio"
CONFIG_ENV_FAT_DEVICE_AND_PART="0:1"
CONFIG_ENV_FAT_FILE="uboot.env"
CONFIG_SYS_REDUNDAND_ENVIRONMENT=y
CONFIG_ENV_FAT_FILE_REDUND="uboot-redund.env"
CONFIG_ENV_SIZE=0x4000
CONFIG_CMD_HASH=y
CONFIG_HASH_VERIFY=y
CONFIG_CMD_EROFS=y
CONFIG_BOOTDELAY=0
CONFIG_CMD_NVEDIT_LOAD=y
CONFIG_CMD_POWEROFF=y
CONFIG_BOOTCOMMAND="virtio scan; env load; setenv devtype virtio; setenv devnum 0; load virtio 0:1 ${scriptaddr} boot.scr; source ${scriptaddr}"
# CONFIG_TOOLS_MKEFICAPSULE is not set
# CONFIG_EFI_LOADER is not set
# CONFIG_CMD_TPM is not set
# CONFIG_TPM is not set
# CONFIG_MBEDTLS_LIB is not set
END
make -s CROSS_COMPILE=aarch64-linux-gnu- gybe_defconfig > "$work/log" 2>&1 &&
    make -s -j"$(nproc)" CROSS_COMPILE=aarch64-linux-gnu- u-boot.bin >> "$work/log" 2>&1 ||
    { tail -30 "$work/log" >&2; exit 1; }
# A name that this version does not know would be passed over in silence.
for name in ENV_IS_IN_FAT SYS_REDUNDAND_ENVIRONMENT CMD_NVEDIT_LOAD CMD_POWEROFF CMD_HASH CMD_EROFS; do
    grep -q "^CONFIG_$name=y" .config || { echo "U-Boot $version has no $name" >&2; exit 1; }
done
mv u-boot.bin "$dest/machines/u-boot/redundant/"
cd "$dest"
rm -rf "$work"
echo "$recipe" > "$dest/versions/u-boot-redundant"
echo "u-boot-redundant: $version"
