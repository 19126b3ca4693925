//! Where a build host keeps what registries ask for: where podman, skopeo and docker look, and then where
//! devices do.
//!
//! Sources: containers-auth.json(5), containers-registries.conf(5), containers-certs.d(5); docker's
//! "Configuration files".

use std::env;
use std::path::PathBuf;

use gybe_oci::Access;

/// Access to registries for whoever runs this.
#[must_use]
pub fn access() -> Access {
    let variable = |name| env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let config = config.map(|folder| folder.join("containers"));
    let runtime = variable("XDG_RUNTIME_DIR").map(|it| it.join("containers/auth.json"));
    let docker = variable("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    let own = [
        variable("REGISTRY_AUTH_FILE"),
        runtime,
        config.as_ref().map(|it| it.join("auth.json")),
        docker.map(|it| it.join("config.json")),
    ];
    let mut access = Access::default();
    access.credentials.splice(0..0, own.into_iter().flatten());
    access.certificates.splice(0..0, config.iter().map(|it| it.join("certs.d")));
    let registries = config.map(|it| it.join("registries.conf")).filter(|it| it.exists());
    if let Some(file) = variable("CONTAINERS_REGISTRIES_CONF").or(registries) {
        access.registries = file;
    }
    // As openssl and curl have it: other authorities than the system's.
    access.roots.splice(0..0, variable("SSL_CERT_FILE"));
    access
}
