//! Which certificates are believed, and which we show.
//!
//! Source: containers-certs.d(5): `certs.d/HOST[:PORT]/` with `*.crt` for authorities, and pairs of
//! `*.cert` and `*.key` to show. TLS is the second line of defence: what is installed is signed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::error::RegistryError;

/// Longest file of one registry, in bytes.
const FILE_LEN_MAX: u64 = 1 << 20;
/// Most files that are looked at for one registry.
const FILES_MAX: usize = 64;
/// What is spoken.
const PROTOCOL: &[u8] = b"http/1.1";

/// What may be asked of a host's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Belief {
    /// That an authority vouches for it.
    Asked,
    /// Nothing: the configuration calls the registry insecure.
    None,
}

/// The authorities that the first of `files` that is there has.
pub(super) fn roots(files: &[PathBuf]) -> Result<RootCertStore, RegistryError> {
    let mut store = RootCertStore::empty();
    for file in files {
        match fs::File::open(file) {
            Ok(opened) => {
                let found = CertificateDer::pem_reader_iter(io::BufReader::new(opened));
                // Bundles have some that are not understood; they vouch for nobody then.
                store.add_parsable_certificates(found.filter_map(Result::ok));
                break;
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(wrong(file, &cause)),
        }
    }
    store.roots.shrink_to_fit();
    Ok(store)
}

/// The folder with certificates for `host`, which may have a port, if there is one.
pub(super) fn folder(folders: &[PathBuf], host: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(host)).find(|folder| folder.is_dir())
}

/// How connections are made to a host with these certificates of its own.
pub(super) fn client(
    roots: &RootCertStore,
    folder: Option<&Path>,
    belief: Belief,
) -> Result<ClientConfig, RegistryError> {
    let mut roots = roots.clone();
    let mut ours = None;
    for file in folder.map(files).transpose()?.unwrap_or_default() {
        match file.extension().and_then(|it| it.to_str()) {
            Some("crt") => {
                for certificate in certificates(&file)? {
                    roots.add(certificate).map_err(|cause| wrong(&file, &cause))?;
                }
            }
            Some("cert") => {
                let key_file = file.with_extension("key");
                let key = PrivateKeyDer::from_pem_slice(&read(&key_file)?);
                let key = key.map_err(|cause| wrong(&key_file, &cause))?;
                ours = Some((certificates(&file)?, key, file));
            }
            _ => {}
        }
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let setup = |cause: Error| RegistryError::Setup { why: cause.to_string() };
    let builder = builder.with_safe_default_protocol_versions().map_err(setup)?;
    let builder = match belief {
        Belief::Asked => builder.with_root_certificates(roots),
        Belief::None => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        }
    };
    let mut config = match ours {
        None => builder.with_no_client_auth(),
        Some((chain, key, file)) => {
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|cause| wrong(&file, &cause))?
        }
    };
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |cause| wrong(folder, &cause);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)?.take(FILES_MAX) {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort_unstable();
    Ok(files)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let text = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|cause| wrong(file, &cause))?;
    if found.is_empty() {
        return Err(wrong(file, &"there is no certificate in it"));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>, RegistryError> {
    use io::Read as _;
    let opened = fs::File::open(file).map_err(|cause| wrong(file, &cause))?;
    let mut text = Vec::new();
    let read = opened.take(FILE_LEN_MAX).read_to_end(&mut text);
    read.map_err(|cause| wrong(file, &cause))?;
    Ok(text)
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Certificates { path: path.display().to_string(), why: why.to_string() }
}

/// Believes any certificate, as an insecure registry is one that anybody may pretend to be.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
