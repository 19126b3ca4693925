//! What is shown: trust, an install, a cut-off one that goes on, and damage that is noticed.

use gybe_core::apply::{Apply, ApplyError, Documents, FillError, Tally};
use gybe_core::block::{BLOCK_LEN, Block};
use gybe_core::boot::BootEnv as _;
use gybe_core::digest::Digest;
use gybe_core::install::Inactive;
use gybe_core::release::Release;
use gybe_core::slot::Slot;
use gybe_core::trailer::{Signature, Signatures};
use gybe_core::trust::{Candidate, Device, KeySet, Policy, PublicKey, Verifier};

use crate::board::{External, Piece, say, stack_used};
use crate::disk::{Disk, DiskError, Power};
use crate::environment;
use crate::shelf::{Chip, Shelf};
use crate::zstd::Zstd;
use Piece::{Hex, Number, Text};

/// What the device is.
const COMPATIBLE: &str = "acme-gateway";
/// Enough for what cosign makes.
const SCRATCH_LEN: usize = 1024;
/// The longest manifest that is copied, to be damaged.
const COPY_LEN: usize = 2048;
/// What an install works in: chunks up to 512 KiB, targets up to 64 MiB.
const WORKSPACE_BLOCKS: usize = 3;

/// More than anything here writes or reads.
const ALWAYS: u32 = u32::MAX;
const EVERYTHING: u64 = u64::MAX;

type Outcome<T> = Result<T, &'static str>;

const REFUSED: &str = "the release is refused";

/// Everything, in order.
pub(crate) fn run(external: External) -> Outcome<()> {
    let External { shelf, root, boot, mut environment, frame, decoder } = external;
    let shelf = Shelf::read(shelf).ok_or("no shelf was loaded")?;
    trust(&shelf)?;
    say(&[Text("stack verify "), Number(stack_used())]);
    let mut zstd = Zstd::new(decoder, frame).ok_or("zstd has no room")?;
    // Borrowed where it is: moved out of the result, there would be two of it.
    let opened = judge(&shelf, &["p256", "ed25519"], shelf.manifest, open);
    let release = opened.as_ref().map_err(|what| *what)?;
    let mut bench = Bench { shelf, release, root, boot, zstd: &mut zstd };
    bench.whole(&mut environment)?;
    bench.cut_off(&mut environment)?;
    bench.damaged(&mut environment)?;
    say(&[Text("workspace decoder "), Number(Zstd::workspace_len())]);
    say(&[Text("stack all "), Number(stack_used())]);
    Ok(())
}

/// What is done with a verifier that has seen all signatures: with the manifest, and the
/// configuration of the release.
type Finish<'s, T> = fn(&Verifier<'_>, &'s [u8], &'s [u8]) -> Outcome<T>;

/// Offers all signatures over `manifest`, of which the keys `names` must all have made one, and
/// finishes. Signatures take the most stack, so that nothing else is on it meanwhile.
#[inline(never)]
fn judge<'s, T>(
    shelf: &Shelf<'s>,
    names: &[&str],
    manifest: &'s [u8],
    finish: Finish<'s, T>,
) -> Outcome<T> {
    let mut keys = KeySet::new();
    for name in names {
        let der = if *name == "p256" { shelf.p256 } else { shelf.ed25519 };
        let key = PublicKey::from_spki(der).map_err(|_| "a key is none")?;
        keys.push(name, key).map_err(|_| "a key comes twice")?;
    }
    let Shelf { architecture, signatures, config, .. } = *shelf;
    let device = Device { compatible: COMPATIBLE, architecture, floor: 1 };
    let policy = Policy::new(&keys, names.len(), device).map_err(|_| "a policy is none")?;
    let mut verifier = Verifier::new(&policy, Digest::of(manifest));
    offer(&mut verifier, signatures);
    finish(&verifier, manifest, config)
}

#[inline(never)]
fn accept(verifier: &Verifier<'_>, manifest: &[u8], _: &[u8]) -> Outcome<()> {
    verifier.finish(manifest).map(|_| ()).map_err(|_| REFUSED)
}

#[inline(never)]
fn open<'s>(verifier: &Verifier<'_>, manifest: &'s [u8], config: &'s [u8]) -> Outcome<Release<'s>> {
    match verifier.finish(manifest) {
        Ok(verified) => Release::open(verified, config).map_err(|_| "the configuration is refused"),
        Err(_) => Err(REFUSED),
    }
}

#[inline(never)]
fn offer(verifier: &mut Verifier<'_>, signatures: &[u8]) {
    let mut scratch = [0; SCRATCH_LEN];
    for signature in Signatures::new(signatures) {
        let candidate = match signature {
            Signature::Simple { payload, signature } => {
                let Ok(signature) = str::from_utf8(signature) else { continue };
                Candidate::SimpleSigning { payload, signature }
            }
            Signature::Bundle(json) => Candidate::Bundle { json },
            Signature::Index(_) => continue,
        };
        // The verifier remembers why one does not count.
        let _ = verifier.offer(candidate, &mut scratch);
    }
}

/// The release verifies with each key alone and with both, and not when a bit is wrong.
#[inline(never)]
fn trust(shelf: &Shelf<'_>) -> Outcome<()> {
    for (what, names) in
        [("p256", &["p256"][..]), ("ed25519", &["ed25519"]), ("both", &["p256", "ed25519"])]
    {
        judge(shelf, names, shelf.manifest, accept)?;
        say(&[Text("verified "), Text(what)]);
    }
    let mut refused = 0;
    for at in (0..shelf.manifest.len()).step_by(97) {
        let mut copy = [0; COPY_LEN];
        let manifest = copy.get_mut(..shelf.manifest.len()).ok_or("the manifest is too long")?;
        manifest.copy_from_slice(shelf.manifest);
        flip(manifest, at);
        let shelf = Shelf { manifest, ..*shelf };
        if judge(&shelf, &["p256"], shelf.manifest, accept) != Err(REFUSED) {
            return Err("a manifest with a wrong bit is accepted");
        }
        refused += 1;
    }
    say(&[Text("refused "), Number(refused)]);
    Ok(())
}

fn flip(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}

type Areas = [&'static mut [u8; crate::board::ENVIRONMENT_LEN]; 2];

struct Bench<'b, 's> {
    shelf: Shelf<'s>,
    release: &'b Release<'s>,
    root: &'static mut [Block],
    boot: &'static mut [Block],
    zstd: &'b mut Zstd<'static>,
}

impl Bench<'_, '_> {
    /// A device that runs from A and has nothing in B.
    fn blank(&mut self, areas: &mut Areas) {
        self.root.as_flattened_mut().fill(0);
        self.boot.as_flattened_mut().fill(0);
        environment::fill(areas, self.shelf.environment);
    }

    /// An install onto a blank slot.
    #[inline(never)]
    fn whole(&mut self, areas: &mut Areas) -> Outcome<()> {
        self.blank(areas);
        let mut source = self.shelf.source(self.release.manifest(), EVERYTHING);
        let tally = self.install(areas, &mut source, ALWAYS).ok_or("an install failed")?;
        report("whole", &tally);
        self.digests("whole");
        say(&[Text("stack install "), Number(stack_used())]);
        Ok(())
    }

    /// An install whose source ends, then whose power goes, then that comes to its end.
    #[inline(never)]
    fn cut_off(&mut self, areas: &mut Areas) -> Outcome<()> {
        self.blank(areas);
        let manifest = self.release.manifest();
        let pack = manifest.packs.first().map_or(0, |pack| pack.len);
        let mut source = self.shelf.source(manifest, pack / 4 * 3);
        let mut late = self.shelf.source(manifest, EVERYTHING);
        let few = u32::try_from(pack / 8 / 4096).unwrap_or(u32::MAX);
        for (name, source, blocks) in [("source", &mut source, ALWAYS), ("power", &mut late, few)] {
            if self.install(areas, source, blocks).is_some() {
                return Err("an install that was cut off came to its end");
            }
            say(&[Text("cut "), Text(name)]);
            state(areas)?;
        }
        let mut source = self.shelf.source(manifest, EVERYTHING);
        let tally = self.install(areas, &mut source, ALWAYS).ok_or("it did not go on")?;
        report("resumed", &tally);
        self.digests("resumed");
        state(areas)
    }

    /// An install of a release whose pack has a wrong bit.
    #[inline(never)]
    fn damaged(&mut self, areas: &mut Areas) -> Outcome<()> {
        let manifest = self.release.manifest();
        let pack = manifest.packs.first().map_or(0, |pack| pack.len);
        for eighth in 0..8 {
            self.blank(areas);
            let mut source = self.shelf.source(manifest, EVERYTHING);
            source.flipped = Some(pack / 8 * eighth + pack / 16);
            if self.install(areas, &mut source, ALWAYS).is_some() {
                return Err("a pack with a wrong bit was installed");
            }

            state(areas)?;
        }
        Ok(())
    }

    /// Installs into slot B and arms it; `None` after saying why not.
    #[inline(never)]
    fn install(&mut self, areas: &mut Areas, source: &mut Chip<'_>, blocks: u32) -> Option<Tally> {
        let power = Power::cut_after(blocks);
        let disks = [&mut *self.root, &mut *self.boot];
        let mut targets = disks.map(|blocks| Inactive::new(Disk { blocks, power: &power }));
        let mut environment = environment::open(areas);
        let Shelf { manifest, config, signatures, recipe, .. } = self.shelf;
        let table = recipe.get(..self.release.config().recipe.table_size)?;
        let documents = Documents { manifest, config, signatures, table };
        let mut workspace = [[0; BLOCK_LEN]; WORKSPACE_BLOCKS];
        let (release, decoder) = (self.release, &mut *self.zstd);
        let apply = Apply { release, documents, source, decoder, workspace: &mut workspace };
        match apply.run(Slot::B, Some(Slot::A), &mut targets, &mut environment) {
            Ok((proven, tally)) => {
                let armed = proven.arm(3, Some(Slot::A), &mut environment);
                armed.is_ok().then_some(tally)
            }
            Err(error) => {
                say(&[Text("ended "), Text(why(&error))]);
                None
            }
        }
    }

    /// What the partitions hold, to the last byte.
    fn digests(&self, name: &str) {
        for (target, blocks) in [(" root ", &*self.root), (" boot ", &*self.boot)] {
            let digest = Digest::of(blocks.as_flattened());
            say(&[Text(name), Text(target), Hex(digest.as_bytes())]);
        }
    }
}

/// A word for what went wrong. The sentences that errors carry would cost flash.
const fn why<E, S, D>(error: &ApplyError<DiskError, E, S, D>) -> &'static str {
    match error {
        ApplyError::Begin(_) => "begin",
        ApplyError::Fill(FillError::Install(_)) => "medium",
        ApplyError::Fill(FillError::Source { .. }) => "source",
        ApplyError::Fill(FillError::Recipe(_)) => "recipe",
        ApplyError::Fill(FillError::Frame { .. }) => "frame",
        ApplyError::Fill(FillError::Chunk { .. }) => "chunk",
        ApplyError::Fill(_) => "other",
    }
}

/// Says which slots are good, and which is on trial.
fn state(areas: &mut Areas) -> Outcome<()> {
    let loaded = environment::open(areas).load().map_err(|_| "the environment is lost")?;
    let state = loaded.state.ok_or("the environment has no state")?;
    let trial = state.trial.map_or("none", |trial| trial.slot.name());
    let good = |good| Text(if good { "good " } else { "bad " });
    say(&[Text("state "), good(state.good.a), good(state.good.b), Text(trial)]);
    Ok(())
}

fn report(name: &str, tally: &Tally) {
    let Tally { fetched_bytes, skipped_blocks, zero_blocks, stored_blocks, decoded_blocks } = tally;
    for (what, count) in [
        (" fetched ", fetched_bytes),
        (" skipped ", skipped_blocks),
        (" zero ", zero_blocks),
        (" stored ", stored_blocks),
        (" decoded ", decoded_blocks),
    ] {
        say(&[Text(name), Text(what), Number(*count)]);
    }
}
