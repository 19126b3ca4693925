#!/bin/bash
# newer-tools.sh DEST [measure]: puts cosign2, cosign3, oras and notation into DEST/bin, or
# skopeo-newer, which only the measurements use, from newer Debian suites, unpacked and not installed.
# What is there in the right major version stays.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/apt-private.sh"
dest=$(realpath -m "${1:?usage: newer-tools.sh DEST}")
mkdir -p "$dest/bin" "$dest/versions"

# need NAME PACKAGE MAJOR SUITE...: DEST/bin/NAME from the first suite whose PACKAGE has MAJOR.
# The package's version decides: cosign as Debian builds it calls itself "devel".
need() {
    local name=$1 package=$2 major=$3 suite folder version
    shift 3
    version=$(cat "$dest/versions/$name" 2>/dev/null || true)
    if [[ $version == "$major".* ]] && "$dest/bin/$name" version >/dev/null 2>&1; then return; fi
    for suite in "$@"; do
        folder=$dest/apt/$suite
        private_apt "$folder" "$suite"
        rm -rf "$folder/debs" "$folder/root"
        mkdir -p "$folder/debs" "$folder/root"
        (cd "$folder/debs" && apt-get "${APT[@]}" download -qq "$package") || continue
        version=$(dpkg-deb --field "$folder"/debs/*.deb Version)
        dpkg -x "$folder"/debs/*.deb "$folder/root"
        mv "$folder/root/usr/bin/$package" "$dest/bin/$name"
        rm -rf "$folder/debs" "$folder/root"
        if [[ $version == "$major".* ]] && "$dest/bin/$name" version >/dev/null; then
            echo "$version" > "$dest/versions/$name"
            echo "$name: $package $version from $suite"
            return
        fi
    done
    echo "no $package of major version $major in: $*" >&2
    return 1
}

# The skopeo of Debian 13 makes zstd:chunked layers, but needs a newer C library than Debian 12 has:
# it runs by the dynamic loader and on the libraries of its own suite.
newer_skopeo() {
    local suite=trixie folder=$dest/skopeo-newer loader
    if "$dest/bin/skopeo-newer" --version >/dev/null 2>&1; then return; fi
    private_apt "$dest/apt/$suite" "$suite"
    rm -rf "$folder"
    mkdir -p "$folder/debs"
    (cd "$folder/debs" && apt-get "${APT[@]}" download -qq \
        skopeo libc6 libgpgme11t64 libsqlite3-0 libassuan9 libgpg-error0)
    for package in "$folder"/debs/*.deb; do dpkg -x "$package" "$folder"; done
    dpkg-deb --field "$folder"/debs/skopeo_*.deb Version > "$dest/versions/skopeo-newer"
    rm -rf "$folder/debs"
    loader=$(find "$folder/usr/lib" -name 'ld-linux-*.so.*' | head -1)
    cat > "$dest/bin/skopeo-newer" <<END
#!/bin/sh
exec $loader --library-path ${loader%/*} $folder/usr/bin/skopeo "\$@"
END
    chmod +x "$dest/bin/skopeo-newer"
    "$dest/bin/skopeo-newer" --version
}

if [[ ${2:-} == measure ]]; then
    newer_skopeo
else
    need cosign2 cosign 2 trixie
    need cosign3 cosign 3 forky sid
    need oras oras 1 trixie forky sid
    need notation notation 1 forky sid
fi
