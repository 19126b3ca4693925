//! Where releases come from: OCI layouts and archives on a disk.
