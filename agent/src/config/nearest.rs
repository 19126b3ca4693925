//! The known word that is most like a mistyped one.

/// Longest word that is compared; a longer one has no nearest.
const WORD_LEN_MAX: usize = 64;

/// The word of `known` that is nearest to `word`, if it is near enough to be what was meant: at
/// most a third of its letters differ, and at least one edit is always allowed.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > WORD_LEN_MAX {
        return None;
    }
    known
        .iter()
        .map(|&known| (distance(word, known), known))
        .filter(|&(distance, known)| distance <= (known.len() / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, known)| known)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (row, letter) in left.chars().enumerate() {
        let mut current = vec![row.saturating_add(1)];
        for (column, &other) in right.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let next = column.saturating_add(1);
            let mut best = at(&last, column).saturating_add(usize::from(letter != other));
            best = best.min(at(&last, next).saturating_add(1));
            best = best.min(at(&current, column).saturating_add(1));
            let swapped = column > 0
                && previous == Some(other)
                && right.get(column.wrapping_sub(1)) == Some(&letter);
            if swapped {
                best = best.min(at(&before_last, column.wrapping_sub(1)).saturating_add(1));
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_textbook() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("tires", "tries", 1),
            ("tries", "tries", 0),
            ("roots", "root", 1),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn only_a_word_that_could_be_meant_is_named() {
        let known = ["compatible", "reference", "slot", "bootloader"];
        assert_eq!(nearest("compatable", &known), Some("compatible"));
        assert_eq!(nearest("boot-loader", &known), Some("bootloader"));
        assert_eq!(nearest("slots", &known), Some("slot"));
        assert_eq!(nearest("polling", &known), None);
        assert_eq!(nearest(&"x".repeat(65), &["x"]), None);
    }
}
