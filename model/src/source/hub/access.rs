//! The hub's address, the access token and the cache, from the variables that the hub's tools
//! share.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{client::Retries, error::HubError};

const ENDPOINT: &str = "https://huggingface.co";

/// How to access repositories.
#[derive(Clone)]
pub(in crate::source) struct Access {
    /// The hub's address, without a trailing slash.
    pub(in crate::source) endpoint: String,
    pub(in crate::source) token: Option<String>,
    pub(in crate::source) cache: PathBuf,
    pub(in crate::source) is_offline: bool,
    pub(in crate::source) retries: Retries,
}

impl Access {
    /// Reads the access from the environment.
    ///
    /// # Errors
    /// [`HubError::Setting`] if no variable tells where the cache is.
    pub(super) fn from_env() -> Result<Self, HubError> {
        Variables { value: &|name| env::var_os(name), home: dirs::home_dir() }.access()
    }
}

/// The environment, or a test's.
struct Variables<'a> {
    value: &'a dyn Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
}

impl Variables<'_> {
    fn access(&self) -> Result<Access, HubError> {
        let hub_home = self
            .path("HF_HOME")
            .or_else(|| Some(self.path("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(self.home.as_ref()?.join(".cache").join("huggingface")));
        let cache = self
            .path("HF_HUB_CACHE")
            .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hub_home.as_ref()?.join("hub")));
        let endpoint = self.text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Ok(Access {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: self.token(hub_home.as_deref()),
            cache: cache.ok_or(HubError::Setting {
                name: "HF_HUB_CACHE",
                wanted: "a folder in it or in HF_HOME, or a home directory",
                found: "none of them".to_owned(),
            })?,
            is_offline: self.is_set("HF_HUB_OFFLINE"),
            retries: Retries::PATIENT,
        })
    }

    fn token(&self, hub_home: Option<&Path>) -> Option<String> {
        if self.is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let in_file = |path: PathBuf| {
            let text = fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        };
        self.text("HF_TOKEN")
            .or_else(|| in_file(self.path("HF_TOKEN_PATH")?))
            .or_else(|| in_file(hub_home?.join("token")))
    }

    fn text(&self, name: &str) -> Option<String> {
        let value = (self.value)(name)?.into_string().ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = (self.value)(name)?;
        // A path need not be text.
        let Some(text) = value.to_str().map(str::trim) else { return Some(value.into()) };
        match (text.strip_prefix("~/"), &self.home) {
            _ if text.is_empty() => None,
            (Some(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(text.into()),
        }
    }

    fn is_set(&self, name: &str) -> bool {
        let value = self.text(name).unwrap_or_default().to_ascii_uppercase();
        matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(variables: &[(&str, &str)], home: Option<&str>) -> Result<Access, HubError> {
        let value = |name: &str| {
            let mut found = variables.iter().filter(|(other, _)| *other == name);
            found.next().map(|(_, value)| OsString::from(value))
        };
        Variables { value: &value, home: home.map(PathBuf::from) }.access()
    }

    #[track_caller]
    fn check_cache(variables: &[(&str, &str)], wanted: &str) {
        assert_eq!(access(variables, Some("/people/me")).unwrap().cache, Path::new(wanted));
    }

    #[test]
    fn the_nearest_variable_tells_where_the_cache_is() {
        check_cache(&[], "/people/me/.cache/huggingface/hub");
        check_cache(
            &[("HF_HOME", "  "), ("HF_HUB_CACHE", "")],
            "/people/me/.cache/huggingface/hub",
        );
        check_cache(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check_cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")], "/people/me/hf/hub");
        check_cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", " /c\n")], "/c");
        let error = access(&[], None).err().unwrap().to_string();
        assert!(error.contains("HF_HUB_CACHE: wanted") && error.contains("home"), "{error}");
        assert_eq!(access(&[("HF_HOME", "/hf")], None).unwrap().cache, Path::new("/hf/hub"));
    }

    #[test]
    fn a_token_is_set_or_lies_in_a_file_unless_it_is_not_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let token = |variables: &[(&str, &str)]| {
            let variables = [&[("HF_HOME", home)], variables].concat();
            access(&variables, None).unwrap().token
        };
        assert_eq!(token(&[]), None);
        fs::write(folder.path().join("token"), "kept\n").unwrap();
        assert_eq!(token(&[]).as_deref(), Some("kept"));
        let other = folder.path().join("other");
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(token(&[path]).as_deref(), Some("kept"));
        fs::write(&other, " other ").unwrap();
        assert_eq!(token(&[path]).as_deref(), Some("other"));
        assert_eq!(token(&[path, ("HF_TOKEN", " set ")]).as_deref(), Some("set"));
        let unwanted = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        assert_eq!(token(&[path, ("HF_TOKEN", "set"), unwanted]), None);
    }

    #[test]
    fn the_hub_is_the_public_one_unless_another_is_named() {
        let of = |variables: &[(&str, &str)]| access(variables, Some("/people/me")).unwrap();
        assert_eq!(of(&[("HF_ENDPOINT", " ")]).endpoint, "https://huggingface.co");
        assert_eq!(of(&[("HF_ENDPOINT", " http://hub/a/\n")]).endpoint, "http://hub/a");
        for (value, wanted) in [("1", true), ("true", true), (" Yes ", true), ("0", false)] {
            assert_eq!(of(&[("HF_HUB_OFFLINE", value)]).is_offline, wanted, "{value}");
        }
    }
}
