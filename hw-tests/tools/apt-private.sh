# Sourced by the scripts beside it: apt with its own configuration, so that packages of newer
# Debian suites can be fetched and unpacked in a folder without the host noticing.

# mirror: the machine's own mirror of Debian's main archive.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' \
        'Created-By: Packages' | sort -u | head -1
}

# private_apt FOLDER SUITE [ARCHITECTURE...]: makes the configuration and sets APT to its options.
private_apt() {
    local folder=$1 suite=$2 uri architecture
    shift 2
    uri=$(mirror)
    [[ -n $uri ]] || { echo "apt knows no Debian mirror: run apt-get update first" >&2; return 1; }
    mkdir -p "$folder"/{lists/partial,cache/archives/partial}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" \
        > "$folder/sources.list"
    : > "$folder/status"
    # A mirror may be frozen, and a device's or builder's clock may be wrong: the signature counts.
    APT=(-o Dir::State::Lists="$folder/lists" -o Dir::State::status="$folder/status"
        -o Dir::Cache="$folder/cache" -o Dir::Etc::SourceList="$folder/sources.list"
        -o Dir::Etc::SourceParts=/dev/null -o Acquire::Check-Valid-Until=false
        -o Acquire::Languages=none -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3)
    for architecture in "$@"; do APT+=(-o APT::Architectures::="$architecture"); done
    apt-get "${APT[@]}" update -qq
}
