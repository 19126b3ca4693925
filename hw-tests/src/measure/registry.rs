//! What the security updates cost from a stick, from a registry, and over links that break.

use std::{fs, net::SocketAddr, process::Command};

use serde_json::Value;

use super::{
    cost::Runs,
    lab::{self, Lab, tally},
    layout::number,
};
use crate::{
    device::Device,
    registry::{Breaks, LOSSY_ADDRESS, Link, Registry},
    run, sample, say,
};

const REPOSITORY: &str = "acme/gateway";
/// After how many bytes a connection drops.
const DROP_AFTER: u64 = 5_000_000;
/// The network of two: this machine, and the device in a namespace of its own.
const NAMESPACE: &str = "gybe-measure";
const HERE: &str = "gybe-m0";
const THERE: &str = "gybe-m1";

/// One way to bring the release.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    /// What the device says that it received.
    pub(super) told_bytes: u64,
    pub(super) wasted_bytes: u64,
    pub(super) requests: u64,
    /// What came over the link, with everything that TLS adds; with packets, what was sent.
    pub(super) link_bytes: Option<u64>,
    pub(super) connections: Option<u64>,
    pub(super) runs: Runs,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Registries {
    pub(super) tag: &'static str,
    pub(super) stick: Option<Way>,
    pub(super) whole: Option<Way>,
    pub(super) drops: Option<Way>,
    /// Packets without loss and with it; none where we are not root.
    pub(super) packets: Option<[Way; 2]>,
    pub(super) commands: Vec<String>,
}

impl Registries {
    /// Every way that ran.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Way> {
        let single = [&self.stick, &self.whole, &self.drops];
        single.into_iter().flatten().chain(self.packets.iter().flatten())
    }
}

/// Brings the first pair to a device that runs `base`, each way once.
pub(super) fn run(lab: &Lab) -> Result<Registries, String> {
    say::heading("registry");
    let pair = lab.inputs.pairs().first().ok_or("no pair")?;
    lab.seal_pair(pair)?;
    let device = lab.device_with_base("registered")?;
    let registry = Registry::start(&lab.path("registry"))?;
    registry.put(&lab.releases().0, REPOSITORY)?;
    drop(lab.commands());
    let shop = Shop { lab, device: &device, registry: &registry, tag: pair.tag };
    let stick = shop.install("a stick", &lab.releases().source(pair.tag), None)?;
    let whole = shop.over_tcp("a registry", Breaks::Never)?;
    let name = "a registry, each connection drops after 5 MB";
    let drops = shop.over_tcp(name, Breaks::Each(DROP_AFTER))?;
    let packets = if run::is_root() { Some(shop.over_packets()?) } else { None };
    let commands = lab.commands();
    drop(registry);
    lab::remove(device.root())?;
    Ok(Registries {
        tag: pair.tag,
        stick: Some(stick),
        whole: Some(whole),
        drops: Some(drops),
        packets,
        commands,
    })
}

struct Shop<'a> {
    lab: &'a Lab,
    device: &'a Device,
    registry: &'a Registry,
    tag: &'a str,
}

impl Shop<'_> {
    /// Installs into slot B, inside of a namespace if one is named.
    fn install(
        &self,
        name: &'static str,
        source: &str,
        within: Option<&str>,
    ) -> Result<Way, String> {
        self.device.renew("b").map_err(sample::words)?;
        let install = ["install", source, "--slot", "b", "--no-arm", "--json"];
        let gybe = self.lab.gybe(self.device, &install);
        let mut command = gybe;
        if let Some(namespace) = within {
            let mut inside = run::command("ip");
            inside.args(["netns", "exec", namespace]);
            inside.arg(command.get_program()).args(command.get_args());
            command = inside;
        }
        let (cost, said) = self.lab.measure(&command)?;
        let told: Value = tally(&said)?;
        let way = Way {
            name,
            told_bytes: number(&told, "/fetched_bytes")?,
            wasted_bytes: number(&told, "/wasted_bytes")?,
            requests: number(&told, "/requests")?,
            link_bytes: None,
            connections: None,
            runs: Runs(vec![cost]),
        };
        say::line(&format!("{name}: {} bytes, {} requests", way.told_bytes, way.requests));
        Ok(way)
    }

    fn over_tcp(&self, name: &'static str, breaks: Breaks) -> Result<Way, String> {
        let link = Link::to(self.address(), breaks).map_err(sample::words)?;
        self.registry.admit(self.device.root(), link.port())?;
        let source = Registry::source(link.port(), REPOSITORY, self.tag);
        let way = self.install(name, &source, None)?;
        let (link_bytes, connections) = (Some(link.bytes()), Some(link.connections()));
        Ok(Way { link_bytes, connections, ..way })
    }

    /// Without loss, and with every hundredth packet thrown away where the device would get it. By
    /// the packet filter: many kernels have no netem.
    fn over_packets(&self) -> Result<[Way; 2], String> {
        let network = Network::new()?;
        let link = Link::at(LOSSY_ADDRESS, self.address(), Breaks::Never).map_err(sample::words)?;
        let [a, b, c, d] = LOSSY_ADDRESS;
        let host = format!("{a}.{b}.{c}.{d}:{}", link.port());
        self.registry.admit_to(self.device.root(), &host)?;
        let source = format!("docker://{host}/{REPOSITORY}:{}", self.tag);
        let one = |name| {
            let (packets, connections) = (network.sent()?, link.connections());
            let way = self.install(name, &source, Some(NAMESPACE))?;
            let link_bytes = Some(network.sent()? - packets);
            Ok::<_, String>(Way {
                link_bytes,
                connections: Some(link.connections() - connections),
                ..way
            })
        };
        let whole = one("a registry, packets counted")?;
        network.lose()?;
        Ok([whole, one("a registry, 1 % of packets lost")?])
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.registry.port()))
    }
}

/// Two network interfaces, one of them in a namespace. Gone when this is dropped.
struct Network;

impl Network {
    fn new() -> Result<Self, String> {
        // One that a run left behind which was stopped.
        let _ = ip(&["netns", "del", NAMESPACE]).output();
        let network = Self;
        for line in [
            &["netns", "add", NAMESPACE][..],
            &["link", "add", HERE, "type", "veth", "peer", "name", THERE, "netns", NAMESPACE],
            &["addr", "add", "10.77.0.1/30", "dev", HERE],
            &["link", "set", HERE, "up"],
            &["-n", NAMESPACE, "addr", "add", "10.77.0.2/30", "dev", THERE],
            &["-n", NAMESPACE, "link", "set", THERE, "up"],
            // Packets as long as those of a real network: else one that is lost has 64 KiB.
            &["link", "set", HERE, "gso_max_segs", "1"],
        ] {
            sample::succeed(&mut ip(line))?;
        }
        Ok(network)
    }

    /// From here on every hundredth packet for the device is lost, by chance.
    fn lose(&self) -> Result<(), String> {
        let mut filter = ip(&["netns", "exec", NAMESPACE, "iptables", "--append", "INPUT"]);
        filter.args(["--match", "statistic", "--mode", "random", "--probability", "0.01"]);
        sample::succeed(filter.args(["--jump", "DROP"])).map(drop)
    }

    /// Bytes sent to the device, those of headers and lost ones included.
    fn sent(&self) -> Result<u64, String> {
        let file = format!("/sys/class/net/{HERE}/statistics/tx_bytes");
        let text = fs::read_to_string(&file).map_err(|cause| format!("{file}: {cause}"))?;
        text.trim().parse().map_err(|cause| format!("{file}: {cause}"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", HERE]).output();
        let _ = ip(&["netns", "del", NAMESPACE]).output();
    }
}

fn ip(arguments: &[&str]) -> Command {
    let mut ip = run::command("ip");
    ip.args(arguments);
    ip
}
