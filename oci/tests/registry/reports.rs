//! Reports: who gets them, and what they do not get.

use gybe_oci::post_json;

use crate::device::Device;
use crate::server::{Authority, Reply, Server};

const REPORT: &[u8] = br#"{"transition":"updated"}"#;

fn post(device: &Device, url: &str) -> Result<(), String> {
    let posted = post_json(device.access.clone(), url, REPORT.to_vec());
    posted.map_err(|cause| cause.to_string())
}

#[test]
fn a_report_goes_over_tls_to_whom_it_is_meant_for_and_to_nobody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::tls(&authority, |_, _| Reply::new(204, b""));
    let url = format!("https://127.0.0.1:{}/reports", server.port);

    // Whoever cannot say who it is gets nothing, not even a request.
    for device in [Device::new(), Device::believing(&other, &server)] {
        let said = post(&device, &url).unwrap_err();
        assert!(said.contains("certificate"), "{said}");
    }
    assert!(server.requests().is_empty());

    let device = Device::believing(&authority, &server);
    // What opens a registry is no endpoint's business.
    device.login(&format!("127.0.0.1:{}", server.port), "device", "secret");
    assert_eq!(post(&device, &url), Ok(()));
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!((&*request.method, &*request.path), ("POST", "/reports"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.body, REPORT);
}

#[test]
fn an_endpoint_that_knows_its_devices_is_shown_a_certificate() {
    let authority = Authority::new();
    let server = Server::tls_for_some(&authority, |_, _| Reply::new(200, b"thanks"));
    let url = format!("https://127.0.0.1:{}/reports", server.port);
    let device = Device::believing(&authority, &server);
    post(&device, &url).unwrap_err();
    assert!(server.requests().is_empty());
    authority.client(&device.path(&format!("etc/containers/certs.d/127.0.0.1:{}", server.port)));
    assert_eq!(post(&device, &url), Ok(()));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_report_that_is_not_accepted_is_not_led_elsewhere() {
    let there = Server::plain(|_, _| Reply::new(200, b""));
    let elsewhere = format!("http://127.0.0.1:{}/", there.port);
    let server = Server::plain(move |_, _| Reply::new(307, b"").with("Location", &elsewhere));
    let device = Device::new();
    let said = post(&device, &format!("http://127.0.0.1:{}/", server.port)).unwrap_err();
    assert!(said.contains("307") && said.contains("a report"), "{said}");
    assert!(there.requests().is_empty());
}
