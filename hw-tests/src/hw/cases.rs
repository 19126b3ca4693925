//! The cases, written once for every target.

mod environment;
mod health;
mod loader;
mod medium;
mod network;
mod power;
mod systemd;
mod update;

use super::case::Case;

/// Every case, in the order of the table in README.md.
pub(crate) fn all() -> Vec<Case> {
    let groups = [
        update::CASES,
        network::CASES,
        health::CASES,
        loader::CASES,
        environment::CASES,
        power::CASES,
        medium::CASES,
        systemd::CASES,
    ];
    groups.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_that_can_be_typed() {
        let mut names: Vec<&str> = all().iter().map(|case| case.name).collect();
        let typed = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(names.iter().all(|name| typed(name)), "{names:?}");
        let within = |case: &Case| case.every.iter().all(|model| case.on.contains(model));
        assert!(all().iter().all(within), "a machine of every commit that the case is not for");
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
