#!/bin/bash
# debian-rust.sh DEST [SUITE]: Debian's rustc, its standard library for x86_64 and aarch64, and the
# library's source, unpacked in DEST and run by their own dynamic loader: where rustup has no network,
# DEST/rustc builds for aarch64-unknown-linux-gnu, and for targets without an operating system
# (-Zbuild-std=core). The host stays as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/apt-private.sh"
dest=$(realpath -m "${1:?usage: debian-rust.sh DEST [SUITE]}")
suite=${2:-forky}
library=lib/rustlib/src/rust/library/core/src/lib.rs

# works: the compiler answers, and libraries and source lie where it looks.
works() {
    local sysroot
    [[ -x $dest/rustc ]] && "$dest/rustc" --version && sysroot=$("$dest/rustc" --print sysroot) &&
        [[ -e $sysroot/$library ]] &&
        compgen -G "$sysroot/lib/rustlib/aarch64-unknown-linux-gnu/lib/libstd-*.rlib"
}

if works 2>/dev/null; then exit; fi
rm -rf "$dest"
mkdir -p "$dest/debs" "$dest/root"
private_apt "$dest/apt" "$suite" amd64 arm64
packages=$(apt-cache "${APT[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances libstd-rust-dev | grep -E '^[a-z0-9]' |
    grep -v -E ':|^gcc-.*-base$|^debconf|^cdebconf|^libc-dev' | sort -u)
(cd "$dest/debs" && apt-get "${APT[@]}" download -qq $packages rustc rust-src \
    libstd-rust-dev:arm64)
for package in "$dest"/debs/*.deb; do dpkg -x "$package" "$dest/root"; done
rm -rf "$dest/debs" "$dest/apt" "$dest/root/usr/share"
loader=$(find "$dest/root/usr" -name 'ld-linux-x86-64.so.*' | head -1)
libraries=$(dirname "$(find "$dest/root/usr/lib/x86_64-linux-gnu" -name 'libc.so.6' | head -1)")
cat > "$dest/rustc" <<END
#!/bin/sh
root=$dest/root/usr
exec $loader --library-path $libraries --argv0 \$root/bin/rustc \$root/bin/rustc --sysroot \$root "\$@"
END
chmod +x "$dest/rustc"
works || { echo "the compiler unpacked in $dest does not run" >&2; exit 1; }
