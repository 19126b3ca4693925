//! The loaders' scripts, and the lines in them that an integrator sets.

use super::DiskError;

pub(super) const GRUB: &str = include_str!("../../../grub/grub.cfg");
pub(super) const U_BOOT: &str = include_str!("../../../uboot/boot.cmd");

/// Puts `line` in the place of the one line that begins with `beginning`, for each of `lines`.
pub(super) fn with_lines(
    script: &'static str,
    lines: &[(&'static str, String)],
) -> Result<String, DiskError> {
    let mut counts = vec![0_usize; lines.len()];
    let mut text = String::with_capacity(script.len());
    for found in script.lines() {
        let place = lines.iter().position(|(beginning, _)| found.starts_with(beginning));
        let line = place.and_then(|place| {
            *counts.get_mut(place)? += 1;
            Some(lines.get(place)?.1.as_str())
        });
        text.push_str(line.unwrap_or(found));
        text.push('\n');
    }
    match counts.iter().zip(lines).find(|(count, _)| **count != 1) {
        Some((_, (beginning, _))) => Err(DiskError::Script { beginning }),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_line_is_set_and_all_else_stays() {
        let set = |beginning| with_lines(GRUB, &[(beginning, "set gybe_local=\"x\"".to_owned())]);
        let text = set("set gybe_local=").unwrap();
        assert_eq!(text.replace("=\"x\"", "=\"\""), GRUB);
        assert_ne!(text, GRUB);
        for beginning in ["set gybe_boot_", "set no_such="] {
            assert!(set(beginning).is_err(), "{beginning}");
        }
    }
}
