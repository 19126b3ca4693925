#!/bin/bash
# machines.sh DEST: what the tests of real loaders and kernels run on, from Debian's packages,
# unpacked below DEST and not installed.
#
#   DEST/bin/qemu-system-x86_64, qemu-system-aarch64, qemu-img      QEMU 10 (7.2 has faults like ours)
#   DEST/machines/ovmf/OVMF_{CODE,VARS}_4M.fd                       UEFI for x86_64
#   DEST/machines/u-boot/{2023.01,2025.01}/u-boot.bin               U-Boot for QEMU's arm64 `virt`
#   DEST/machines/grub/{2.06,2.12,2.14}/{x86_64-efi,i386-pc}/       GRUB's modules
#   DEST/machines/grub/{2.06,2.12,2.14}/bin/{grub-mkimage,…}        and its programs
#   DEST/machines/guest/{amd64,arm64}/{vmlinuz,release,busybox}     a kernel and its version
#   DEST/machines/guest/{amd64,arm64}/modules/NAME.ko, order        modules, in the order to load them
#   DEST/machines/guest/arm64/root/                                 libraries of an arm64 program
#
# What is there in the wanted version stays; each part is made beside its place and moved there whole.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/apt-private.sh"
dest=$(realpath -m "${1:?usage: machines.sh DEST}")
machines=$dest/machines
work=$machines/partial
suite=trixie

# What a guest may want: block devices, file systems, verity, network, watchdogs, kernel messages.
# Ends of lists of dependencies only; what a kernel has built in is passed over.
modules="virtio_blk virtio_mmio virtio_net af_packet virtio-rng erofs overlay ext4 vfat
    nls_ascii nls_cp437 nls_iso8859-1 nls_utf8 dm-mod dm-verity sha256_generic sha2-ce sha256-arm64
    crc32c_generic i6300esb softdog pstore ramoops efi-pstore efivarfs loop"

# fetch SUITE PACKAGE...: the packages as files in $work/debs, nothing else there.
fetch() {
    local from=$1
    shift
    private_apt "$machines/apt/$from" "$from" amd64 arm64
    rm -rf "$work/debs"
    mkdir -p "$work/debs"
    (cd "$work/debs" && apt-get "${APT[@]}" download -qq "$@")
}

# closure PACKAGE...: the packages and all that they need, without what only an installed system
# needs; of the suite that was fetched from last.
closure() {
    apt-get "${APT[@]}" install --no-install-recommends --print-uris -qq "$@" |
        awk '{ sub(/_.*/, "", $2); print $2 }' |
        grep -v -E '^(adduser|base-passwd|debconf|login|passwd|libpam|libsemanage|gcc-.*-base|.*-data$)'
}

# unpack FOLDER: every fetched package.
unpack() {
    local package
    for package in "$work"/debs/*.deb; do dpkg -x "$package" "$1"; done
}

# run_by_own_loader ROOT PROGRAM SCRIPT [LINE]...: SCRIPT runs ROOT's PROGRAM on ROOT's libraries.
run_by_own_loader() {
    local root=$1 program=$2 script=$3 loader libraries
    shift 3
    loader=$(cd "$root" && find . -name 'ld-linux-x86-64.so.2' -type f | sed 's|^\./||' | head -1)
    libraries=$(cd "$root" && find . -name '*.so.*' ! -path '*/gconv/*' -printf '%h\n' | sort -u |
        sed "s|^\./|\$root/|" | paste -sd:)
    mkdir -p "${script%/*}"
    {
        echo '#!/bin/sh'
        # What is moved with its tree is found beside itself.
        printf '%s\n' "$@"
        echo "exec \$root/$loader --argv0 ${program##*/} --library-path $libraries \\"
        echo "    \$root/$program \$data \"\$@\""
    } > "$script"
    chmod +x "$script"
}

# done_with PART VERSION WHAT: remembers that a part is there, and says so.
done_with() {
    echo "$2" > "$dest/versions/$1"
    echo "$1: $3"
}

# has PART VERSION: the part is there in this version.
has() { [[ $(cat "$dest/versions/$1" 2>/dev/null) == "$2" ]]; }

# put PART: moves $work/PART to its place.
put() {
    mkdir -p "$(dirname "$machines/$1")"
    rm -rf "${machines:?}/$1"
    mv "$work/$1" "$machines/$1"
}

qemu() {
    local version=1 program
    if has qemu $version && "$dest/bin/qemu-system-x86_64" --version >/dev/null; then return; fi
    private_apt "$machines/apt/$suite" $suite amd64 arm64
    fetch $suite $(closure qemu-system-x86 qemu-system-arm qemu-utils) qemu-system-data
    unpack "$work/qemu"
    local root=$work/qemu
    find "$root/usr/bin" ! -type d \
        ! -name qemu-system-x86_64 ! -name qemu-system-aarch64 ! -name qemu-img -delete
    rm -rf "$root"/usr/share/{doc,man,OVMF,ovmf,icons,locale,applications,lintian,zsh,alsa} \
        "$root"/usr/lib/x86_64-linux-gnu/{gconv,perl*,security} "$root"/etc "$root"/var
    find "$root/usr/share/qemu" -name '*ppc*' -delete
    find "$root" \( -name '*sparc*' -o -name 'hppa*' -o -name 'skiboot*' -o -name 'slof*' \
        -o -name 'trace-events*' -o -name 'palcode*' -o -name 'u-boot*' \) -delete
    for program in qemu-system-x86_64 qemu-system-aarch64; do
        run_by_own_loader "$root" usr/bin/$program "$work/bin/$program" "root=$machines/qemu" \
            'export QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu' \
            'data="-L $root/usr/share/qemu -L $root/usr/share/seabios"'
    done
    run_by_own_loader "$root" usr/bin/qemu-img "$work/bin/qemu-img" "root=$machines/qemu" 'data='
    put qemu
    mv "$work"/bin/qemu-* "$dest/bin/"
    done_with qemu $version "$("$dest/bin/qemu-system-x86_64" --version | head -1)"
}

ovmf() {
    local version=1
    if has ovmf $version; then return; fi
    fetch $suite ovmf
    unpack "$work/root"
    mkdir -p "$work/ovmf"
    mv "$work"/root/usr/share/OVMF/OVMF_{CODE,VARS}_4M.fd "$work/ovmf"
    put ovmf
    done_with ovmf $version "$(dpkg-deb --field "$work"/debs/*.deb Version)"
    rm -rf "$work/root"
}

# u_boot VERSION SUITE
u_boot() {
    local version=$1 found
    if has "u-boot-$version" 1; then return; fi
    fetch "$2" u-boot-qemu
    found=$(dpkg-deb --field "$work"/debs/*.deb Version)
    [[ $found == "$version"* ]] || { echo "u-boot of $2 is $found, not $version" >&2; return 1; }
    unpack "$work/root"
    mkdir -p "$work/u-boot/$version"
    mv "$work/root/usr/lib/u-boot/qemu_arm64/u-boot.bin" "$work/u-boot/$version/"
    put "u-boot/$version"
    done_with "u-boot-$version" 1 "$found"
    rm -rf "$work/root"
}

# grub VERSION SUITE
grub() {
    local version=$1 from=$2 found loader program
    local folder=$work/grub/$version
    if has "grub-$version" 1; then return; fi
    fetch "$from" grub-common grub2-common grub-efi-amd64-bin grub-pc-bin grub-emu \
        libc6 libdevmapper1.02.1 libudev1 libselinux1 libpcre2-8-0 liblzma5 libcap2 libgcc-s1 ||
        return 1
    found=$(dpkg-deb --field "$work"/debs/grub-common_*.deb Version)
    [[ $found == "$version"* ]] || { echo "GRUB of $from is $found, not $version" >&2; return 1; }
    rm -rf "$work/root" "$folder"
    unpack "$work/root"
    mkdir -p "$folder/bin"
    mv "$work"/root/usr/lib/grub/{x86_64-efi,i386-pc} "$folder/"
    [[ -e $folder/x86_64-efi/normal.mod && -e $folder/i386-pc/boot.img ]] ||
        { echo "the packages of GRUB $found have no modules" >&2; return 1; }
    rm -rf "$work"/root/usr/{share,lib/x86_64-linux-gnu/gconv} "$work"/root/{etc,var}
    mv "$work/root" "$folder/root"
    loader=$(find "$folder/root" -name ld-linux-x86-64.so.2 -type f)
    for program in grub-mkimage grub-editenv grub-fstest grub-script-check grub-emu; do
        run_by_own_loader "$folder/root" usr/bin/$program "$folder/bin/$program" \
            'root=$(dirname "$(readlink -f "$0")")/../root' 'data='
    done
    # GRUB as a program is linked with a library that opens windows. It is asked to open none.
    nm -D --undefined-only "$folder/root/usr/bin/grub-emu" |
        sed -n 's/.* \(SDL_[A-Za-z0-9_]*\).*/void \1(void) {}/p' |
        cc -shared -fPIC -x c - -o "${loader%/*}/libSDL2-2.0.so.0"
    for program in "$folder"/bin/*; do "$program" --version >/dev/null || return 1; done
    put "grub/$version"
    done_with "grub-$version" 1 "$found"
}

# load_after NAME FOLDER: puts a module into FOLDER/modules and its name at the end of the list there,
# after those that it needs.
load_after() {
    local name=${1//-/_} folder=$2 packed needed
    if grep -qx "$name.ko" "$folder/modules/order"; then return; fi
    packed=$(find "$folder/all" -name "${name//_/[-_]}.ko.xz")
    # Built in, or not made for this architecture.
    if [[ -z $packed ]]; then return; fi
    xz -dc "$packed" > "$folder/modules/$name.ko"
    needed=$(tr '\0' '\n' < "$folder/modules/$name.ko" | sed -n 's/^depends=//p' | tr , ' ')
    for needed in $needed; do load_after "$needed" "$folder"; done
    echo "$name.ko" >> "$folder/modules/order"
}

# guest ARCHITECTURE PACKAGE: kernel and modules.
guest() {
    local architecture=$1 package=$2 name kernel
    local folder=$work/guest/$architecture
    if has "guest-$architecture" 1; then return; fi
    private_apt "$machines/apt/$suite" $suite amd64 arm64
    kernel=$(apt-cache "${APT[@]}" depends "$package:$architecture" |
        sed -n 's/.*Depends: \(linux-image-[^:]*\).*/\1/p' | head -1)
    fetch $suite "$kernel:$architecture" "busybox-static:$architecture" \
        "libc6:$architecture" "libgcc-s1:$architecture"
    mkdir -p "$folder"/{modules,all}
    echo "${kernel#linux-image-}" > "$folder/release"
    dpkg-deb --fsys-tarfile "$work/debs/$kernel"_*.deb |
        tar -x -C "$folder/all" --wildcards './boot/vmlinuz-*' '*.ko.xz'
    mv "$folder"/all/boot/vmlinuz-* "$folder/vmlinuz"
    : > "$folder/modules/order"
    for name in $modules; do load_after "$name" "$folder"; done
    rm -rf "$folder/all"
    rm "$work/debs/$kernel"_*.deb
    unpack "$work/root"
    mv "$(find "$work/root" -path '*bin/busybox' -type f)" "$folder/busybox"
    mkdir -p "$folder/root/lib"
    find "$work/root" -regex '.*/\(libc\|libm\|libgcc_s\|ld-linux-.*\)\.so\.[0-9]' -type f \
        -exec mv -t "$folder/root/lib" {} +
    rm -rf "$work/root"
    put "guest/$architecture"
    done_with "guest-$architecture" 1 "Linux ${kernel#linux-image-}"
}

mkdir -p "$dest"/{bin,versions} "$machines"
rm -rf "$work"
mkdir -p "$work"
qemu
ovmf
u_boot 2023.01 bookworm
u_boot 2025.01 trixie
grub 2.06 bookworm
grub 2.12 trixie
# Only a suite that changes every day has it, and there packages may not fit each other.
grub 2.14 sid || echo "grub-2.14: not to be had today; tests pass over it"
guest amd64 linux-image-cloud-amd64
guest arm64 linux-image-arm64
rm -rf "$work" "$machines/apt"
