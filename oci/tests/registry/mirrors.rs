//! Repositories that several places have.

use gybe_core::digest::Digest;
use gybe_oci::{Blob, RegistryError, Source};

use crate::device::{Device, bytes, read_all};
use crate::server::{Reply, Server};

/// A device for which these servers mirror `r.example/a`, with what is said about each.
fn device(mirrors: &[(&Server, &str)], registry: &Server) -> Device {
    let device = Device::new();
    let mut text = format!(
        "[[registry]]\nprefix = \"r.example/a\"\nlocation = \"127.0.0.1:{}/main\"\ninsecure = true\n",
        registry.port
    );
    for (mirror, more) in mirrors {
        let location = format!("127.0.0.1:{}/copy", mirror.port);
        text.push_str(&format!(
            "[[registry.mirror]]\nlocation = \"{location}\"\ninsecure = true\n{more}\n"
        ));
    }
    device.write("etc/containers/registries.conf", text);
    device
}

fn found(device: &Device, bytes: &[u8]) -> (Source, Blob) {
    let source = device.sources().open(&"docker://r.example/a/b".parse().unwrap()).unwrap();
    let blob = source.blob_of_len(&Digest::of(bytes), bytes.len() as u64).unwrap();
    (source, blob)
}

#[test]
fn mirrors_are_asked_first_and_the_one_that_answered_first_again() {
    let blob = bytes(1000);
    let held = blob.clone();
    let empty = Server::plain(|_, _| Reply::new(404, b""));
    let full = Server::plain(move |request, _| Reply::part(request, &held));
    let registry = Server::plain(|_, _| Reply::new(500, b""));
    let device = device(&[(&empty, ""), (&full, "")], &registry);
    let (_, blob_there) = found(&device, &blob);
    assert!(read_all(&blob_there).unwrap() == blob);
    assert!(read_all(&blob_there).unwrap() == blob);
    let path = format!("/v2/copy/b/blobs/{}", Digest::of(&blob));
    assert_eq!((empty.paths(), full.paths()), (vec![path.clone()], vec![path.clone(), path]));
    assert_eq!(registry.requests().len(), 0);
}

#[test]
fn where_mirrors_fail_the_registry_is_asked() {
    let blob = bytes(1000);
    let held = blob.clone();
    let gone = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap().port()
    };
    let broken = Server::plain(|_, _| Reply::new(500, b""));
    let registry = Server::plain(move |request, _| Reply::part(request, &held));
    let device = device(&[(&broken, "")], &registry);
    let text = std::fs::read_to_string(device.path("etc/containers/registries.conf")).unwrap();
    let nobody = format!("[[registry.mirror]]\nlocation = \"127.0.0.1:{gone}/x\"\n");
    device.write("etc/containers/registries.conf", format!("{text}{nobody}"));
    let (_, blob_there) = found(&device, &blob);
    assert!(read_all(&blob_there).unwrap() == blob);
    assert_eq!(broken.requests().len(), 2, "a mirror is tried less often");
    assert_eq!(registry.paths(), [format!("/v2/main/b/blobs/{}", Digest::of(&blob))]);
}

#[test]
fn a_mirror_that_lies_is_passed_over() {
    let blob = br#"{"small":"document"}"#;
    let mirror = Server::plain(|_, _| Reply::new(200, b"another"));
    let registry = Server::plain(|_, _| Reply::new(200, blob));
    let device = device(&[(&mirror, "")], &registry);
    let (source, _) = found(&device, blob);
    assert_eq!(source.read_blob(&Digest::of(blob), 1000).unwrap(), blob);
    assert_eq!((mirror.requests().len(), registry.requests().len()), (1, 1));
    // Where nobody has the right one, it is said.
    let said = source.read_blob(&Digest::of(b"x"), 1000).unwrap_err().to_string();
    assert!(said.contains("is corrupt: the digest of its bytes is"), "{said}");
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_tags() {
    let mirror = Server::plain(|_, _| Reply::new(404, b""));
    let registry = Server::plain(|_, _| Reply::new(404, b""));
    let device = device(&[(&mirror, "pull-from-mirror = \"digest-only\"")], &registry);
    let said = device.sources().offer("docker://r.example/a/b:v1", None).unwrap_err().to_string();
    assert_eq!(said, format!("127.0.0.1:{} has no manifest v1", registry.port));
    assert_eq!(
        (mirror.paths().len(), registry.paths()),
        (0, vec!["/v2/main/b/manifests/v1".into()])
    );
    let digest = Digest::of(b"");
    let reference = format!("docker://r.example/a/b@{digest}");
    assert!(device.sources().offer(&reference, None).is_err());
    assert_eq!(mirror.paths(), [format!("/v2/copy/b/manifests/{digest}")]);
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let device = Device::new();
    device.write(
        "etc/containers/registries.conf",
        "[[registry]]\nprefix = \"r.example\"\nblocked = true\n",
    );
    let refused = device.sources().repository(&"docker://r.example/a/b".parse().unwrap());
    assert!(matches!(refused, Err(RegistryError::Blocked { .. })), "{refused:?}");
}
