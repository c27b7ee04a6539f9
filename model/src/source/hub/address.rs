//! Addresses: whether one belongs to the hub, and where a redirect leads.

use std::fmt;

use ureq::http::Uri;

/// The address of a host, over http or https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(Uri);

impl Address {
    /// Parses a text; `None` if it is no such address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        (is_web && !uri.host()?.is_empty()).then_some(Self(uri))
    }

    /// Returns the target of a redirect from here; `None` if it is no such address, or leads from
    /// https to http.
    pub(super) fn redirected(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next()?;
        let (scheme, authority) = (self.0.scheme_str()?, self.0.authority()?);
        let path = self.0.path();
        let has_scheme = location.split(['/', '?']).next()?.contains(':');
        let text = match location.bytes().next() {
            _ if has_scheme => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            Some(b'/') => format!("{scheme}://{authority}{location}"),
            Some(b'?') => format!("{scheme}://{authority}{path}{location}"),
            _ => {
                let folder = &path[..=path.rfind('/')?];
                format!("{scheme}://{authority}{folder}{location}")
            }
        };
        Self::parse(&text).filter(|target| target.is_secure() || !self.is_secure())
    }

    /// Returns whether scheme, host and port are the same.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        let port = |address: &Self| {
            address.0.port_u16().unwrap_or(if address.is_secure() { 443 } else { 80 })
        };
        let host = |address: &Self| address.0.host().map(str::to_ascii_lowercase);
        self.is_secure() == other.is_secure()
            && host(self) == host(other)
            && port(self) == port(other)
    }

    /// Returns the address for a request.
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

/// Without the query, which may contain a signature, and without a password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}", self.0.host().unwrap_or_default())?;
        if let Some(port) = self.0.port_u16() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

/// Escapes a path, except for the characters that need no escape in an address.
pub(super) fn escaped(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let escape = |byte: u8| match byte {
        _ if is_plain(byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, location: &str, wanted: Option<&str>) {
        let target = Address::parse(from).unwrap().redirected(location);
        assert_eq!(target.map(|target| target.uri().to_string()).as_deref(), wanted);
    }

    #[test]
    fn a_redirect_leads_to_an_address_of_the_web_and_never_out_of_https() {
        let from = "https://hub.example/a/b?c=d";
        check(from, "https://cdn.example:8443/x?y=z", Some("https://cdn.example:8443/x?y=z"));
        check(from, "//cdn.example/x#part", Some("https://cdn.example/x"));
        check(from, "/x/y?z:/", Some("https://hub.example/x/y?z:/"));
        check(from, "x/y", Some("https://hub.example/a/x/y"));
        check(from, "?x", Some("https://hub.example/a/b?x"));
        for wrong in ["http://hub.example/x", "ftp://hub.example/x", "file:///etc/passwd", "a:b"] {
            check(from, wrong, None);
        }
        check("http://hub.example/a", "https://hub.example/a", Some("https://hub.example/a"));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = Address::parse("https://Hub.example/a").unwrap();
        let is_at = |text: &str| Address::parse(text).unwrap().is_at(&hub);
        assert!(is_at("https://hub.example:443/b"));
        let others = ["http://hub.example", "https://hub.example:444", "https://a.hub.example"];
        for other in others {
            assert!(!is_at(other), "{other}");
        }
        assert!(!is_at("https://hub.example@evil.example/"));
    }

    #[test]
    fn addresses_are_shown_without_what_is_secret() {
        let address = Address::parse("https://me:word@hub.example:81/a%20b?Signature=1").unwrap();
        assert_eq!(address.to_string(), "https://hub.example:81/a%20b");
        assert_eq!(escaped("a b/ü#?%.gguf"), "a%20b/%C3%BC%23%3F%25.gguf");
    }
}
