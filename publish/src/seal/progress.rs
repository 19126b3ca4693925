//! Progress bars on a terminal; nothing in a pipe.

use indicatif::{ProgressBar, ProgressStyle};

/// The bar on the screen.
pub(super) struct Bars(ProgressBar);

impl Bars {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        // A style that cannot be read leaves the default one, which is good enough.
        let style = "{msg:<6} {wide_bar} {bytes}/{total_bytes} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message("layers");
        Self(bar)
    }

    pub(super) fn layers(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    pub(super) fn target(&self, name: &'static str, blocks: u64) {
        self.0.set_message(name);
        self.0.set_length(blocks.saturating_mul(gybe_core::block::BLOCK_LEN_U64));
        self.0.set_position(0);
    }

    pub(super) fn packed(&self, blocks: u64) {
        self.0.inc(blocks.saturating_mul(gybe_core::block::BLOCK_LEN_U64));
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
