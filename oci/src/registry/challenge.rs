//! What a registry says when it wants to know who asks.
//!
//! Source: RFC 9110, 11.6.1: a list of challenges, each a scheme and its parameters, separated by
//! the same commas that separate parameters.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Longest header that is looked at.
const LEN_MAX: usize = 4096;

/// A way to say who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token that somebody else gives out.
    Bearer {
        /// Who.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
}

/// The first challenge that can be met: tokens before passwords, since a registry that offers both
/// gives more for them.
pub(super) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut found: Vec<_> = texts.filter(|text| text.len() <= LEN_MAX).flat_map(parse).collect();
    let bearer = found.iter().position(|it| matches!(it, Challenge::Bearer { .. }));
    let at = bearer.unwrap_or(0);
    (at < found.len()).then(|| found.swap_remove(at))
}

/// All challenges in one header that are known.
fn parse(text: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // Not a list as we know it; what came before may still do.
            break;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        let Some(value) = value else {
            challenges.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after.trim_start_matches([' ', ',', '\t']);
            continue;
        };
        let (value, after) = self::value(value.trim_start_matches([' ', '\t']));
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.push((word.to_ascii_lowercase(), value));
        }
        rest = after.trim_start_matches([' ', ',', '\t']);
    }
    challenges.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let mut realm = None;
    let mut service = None;
    for (name, value) in parameters {
        match name.as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            _ => {}
        }
    }
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: realm?, service }),
        _ => None,
    }
}

/// The value in front of `text`, quoted or not, and what comes behind it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

const fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '^'..='`' | '|' | '~')
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn challenges_are_found_however_they_are_listed() {
        let realm = "https://a.example/token";
        let cases: [(&[&str], _); 10] = [
            (&["Basic realm=\"Registry Realm\""], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &["Bearer realm=\"https://a.example/token\",service=\"s\",scope=\"x:y:pull,push\""],
                bearer(realm, Some("s")),
            ),
            (&["Bearer realm = \"https://a.example/token\" , service=s"], bearer(realm, Some("s"))),
            (&["Basic realm=\"x\", Bearer realm=\"https://a.example/token\""], bearer(realm, None)),
            (
                &["Basic realm=\"x\"", "Bearer realm=\"https://a.example/token\""],
                bearer(realm, None),
            ),
            (&["Negotiate, Basic realm=\"a\\\"b, c\""], Some(Challenge::Basic)),
            (&["Bearer service=\"s\""], None),
            (&["Digest realm=\"x\", nonce=\"y\""], None),
            (&["=,=\"", ""], None),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(choose(&headers), expected, "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "\\PC{0,200}", odd in "[a-z =,\"\\\\]{0,60}") {
            let _ = (parse(&text), parse(&odd));
        }
    }

    #[test]
    fn no_challenge_is_read_that_is_too_long() {
        let mut headers = HeaderMap::new();
        let long = format!("Basic realm=\"{}\"", "x".repeat(LEN_MAX));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(&long).unwrap());
        assert_eq!(choose(&headers), None);
    }
}
