//! Users that a disk has beside those of its image: lines for the files below `/etc`, and homes.

use std::collections::BTreeSet;

use super::customize::User;

/// The first number for people.
const ID_MIN: u32 = 1000;
const ID_MAX: u32 = 59_999;

/// The shells that are looked for, in this order.
pub(super) const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// The four files of accounts, as the image has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) passwd: String,
    pub(super) group: String,
    pub(super) shadow: String,
    pub(super) gshadow: String,
}

/// A folder of a user below `/var`, with what lets them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// Without a leading `/var/`.
    pub(super) path: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) keys: Option<String>,
}

impl Accounts {
    /// Adds a user, or changes the one that has the name; gives the home, if one is to be made.
    pub(super) fn add(&mut self, user: &User, shell: &str) -> Result<Option<Home>, UserError> {
        let home = match self.passwd.lines().find_map(|line| Person::of(line, &user.name)) {
            Some(person) => self.change(user, &person)?,
            None => Some(self.create(user, shell)?),
        };
        for group in &user.groups {
            let mut found = false;
            self.group = edit(&self.group, group, |fields| {
                found = true;
                join(fields, 3, &user.name);
            });
            if !found {
                let (user, group) = (user.name.clone(), group.clone());
                return Err(UserError::NoGroup { user, group });
            }
            self.gshadow = edit(&self.gshadow, group, |fields| join(fields, 3, &user.name));
        }
        Ok(home)
    }

    fn create(&mut self, user: &User, shell: &str) -> Result<Home, UserError> {
        let name = &user.name;
        if self.group.lines().any(|line| line.split(':').next() == Some(name)) {
            return Err(UserError::GroupTaken { name: name.clone() });
        }
        let taken: BTreeSet<u32> = [&self.passwd, &self.group]
            .into_iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.split(':').nth(2)?.parse().ok())
            .collect();
        let id = (ID_MIN..=ID_MAX).find(|id| !taken.contains(id)).ok_or(UserError::NoNumber)?;
        let path = format!("home/{name}");
        append(&mut self.passwd, &format!("{name}:x:{id}:{id}::/var/{path}:{shell}"));
        append(&mut self.group, &format!("{name}:x:{id}:"));
        // A star lets nobody in by password; a bang would lock the account for ssh as well.
        let password = user.password.as_deref().unwrap_or("*");
        append(&mut self.shadow, &format!("{name}:{password}::0:99999:7:::"));
        if !self.gshadow.is_empty() {
            append(&mut self.gshadow, &format!("{name}:!::"));
        }
        Ok(Home { path, uid: id, gid: id, keys: user.key.clone() })
    }

    fn change(&mut self, user: &User, person: &Person) -> Result<Option<Home>, UserError> {
        if let Some(password) = &user.password {
            let mut found = false;
            self.shadow = edit(&self.shadow, &user.name, |fields| {
                found = true;
                if let Some(field) = fields.get_mut(1) {
                    field.clone_from(password);
                }
            });
            if !found {
                append(&mut self.shadow, &format!("{}:{password}::0:99999:7:::", user.name));
            }
        }
        let Some(keys) = user.key.clone() else { return Ok(None) };
        let Some(path) = person.home.strip_prefix("/var/") else {
            let (user, home) = (user.name.clone(), person.home.clone());
            return Err(UserError::Home { user, home });
        };
        let path = path.trim_matches('/').to_owned();
        let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'/' | b'_' | b'-' | b'.');
        if !path.bytes().all(plain) || path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            let (user, home) = (user.name.clone(), person.home.clone());
            return Err(UserError::OddHome { user, home });
        }
        Ok(Some(Home { path, uid: person.uid, gid: person.gid, keys: Some(keys) }))
    }
}

/// What `passwd` says of somebody.
struct Person {
    uid: u32,
    gid: u32,
    home: String,
}

impl Person {
    fn of(line: &str, name: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        // Images based on ostree link /root there.
        let home = if *home == "/root" { "/var/roothome" } else { home };
        (*found == name).then(|| Self { uid, gid, home: home.to_owned() })
    }
}

fn append(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

/// `text` with the fields of the line of `name` changed.
fn edit(text: &str, name: &str, mut change: impl FnMut(&mut Vec<String>)) -> String {
    let mut edited = String::with_capacity(text.len());
    for line in text.lines() {
        if line.split(':').next() == Some(name) {
            let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            change(&mut fields);
            append(&mut edited, &fields.join(":"));
        } else {
            append(&mut edited, line);
        }
    }
    edited
}

/// Adds a name to a list with commas.
fn join(fields: &mut Vec<String>, at: usize, name: &str) {
    fields.resize(fields.len().max(at + 1), String::new());
    let Some(list) = fields.get_mut(at) else { return };
    if list.split(',').any(|found| found == name) {
        return;
    }
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(name);
}

/// Why a user cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// A group that is not there.
    #[error("user {user}: the image has no group {group}")]
    NoGroup {
        /// The user.
        user: String,
        /// The group.
        group: String,
    },
    /// The user's own group would have a name that is taken.
    #[error("user {name}: the image has a group of that name, but no user")]
    GroupTaken {
        /// The name.
        name: String,
    },
    /// All numbers are taken.
    #[error("the image has no number left for a user, {ID_MIN} to {ID_MAX}")]
    NoNumber,
    /// A key for somebody whose home is not writable.
    #[error(
        "user {user}: the home {home} is part of the verified image: a key for it belongs there"
    )]
    Home {
        /// The user.
        user: String,
        /// The home.
        home: String,
    },
    /// A key for somebody whose home has no plain name.
    #[error("user {user}: the home {home} has no plain path")]
    OddHome {
        /// The user.
        user: String,
        /// The home.
        home: String,
    },
    /// The image has no such file.
    #[error("the image has no {path}, so that no user can be added")]
    NoFile {
        /// Which.
        path: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbuilt:x:1000:1000::/usr/built:/bin/sh\n".into(),
            group: "root:x:0:\nwheel:x:10:root\nbuilt:x:1000:\n".into(),
            shadow: "root:*:1:0:99999:7:::".into(),
            gshadow: "wheel:::root\n".into(),
        }
    }

    fn user(name: &str) -> User {
        User {
            name: name.into(),
            password: Some("$6$a$b".into()),
            key: Some("ssh-ed25519 AAAA".into()),
            groups: vec!["wheel".into()],
        }
    }

    #[test]
    fn a_new_user_gets_a_number_a_group_and_a_home() {
        let mut found = accounts();
        let home = found.add(&user("anna"), "/bin/sh").unwrap().unwrap();
        assert!(found.passwd.ends_with("\nanna:x:1001:1001::/var/home/anna:/bin/sh\n"));
        assert_eq!(found.group, "root:x:0:\nwheel:x:10:root,anna\nbuilt:x:1000:\nanna:x:1001:\n");
        assert_eq!(found.shadow, "root:*:1:0:99999:7:::\nanna:$6$a$b::0:99999:7:::\n");
        assert_eq!(found.gshadow, "wheel:::root,anna\nanna:!::\n");
        let keys = Some("ssh-ed25519 AAAA".to_owned());
        assert_eq!(home, Home { path: "home/anna".into(), uid: 1001, gid: 1001, keys });
    }

    #[test]
    fn a_user_of_the_image_is_changed() {
        let mut found = accounts();
        let home = found.add(&user("root"), "/bin/sh").unwrap().unwrap();
        assert_eq!((home.path.as_str(), home.uid), ("roothome", 0));
        assert_eq!(found.shadow, "root:$6$a$b:1:0:99999:7:::\n");
        assert_eq!(found.group, accounts().group, "a member already");
        assert_eq!(found.passwd, accounts().passwd);
    }

    #[test]
    fn what_would_not_let_anybody_in_is_refused() {
        let refused = |user: &User| accounts().add(user, "/bin/sh").unwrap_err().to_string();
        let missing = User { groups: vec!["sudo".into()], ..user("anna") };
        assert_eq!(refused(&missing), "user anna: the image has no group sudo");
        assert!(refused(&user("built")).contains("/usr/built is part of the verified image"));
        assert!(refused(&user("wheel")).contains("has a group of that name"));
    }
}
