//! Requests to the hub: which servers get the token, and how far redirects are followed.
//!
//! Knows no repositories and retries nothing.

use std::time::Duration;

use ureq::{
    Agent, Body,
    http::{HeaderMap, HeaderValue, Method, Request, Response, header},
    tls::{RootCerts, TlsConfig},
};

use super::{address::Address, error::HubError};

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// How long a body may stall.
const STALL: Duration = Duration::from_mins(1);
const MAX_REDIRECTS: usize = 10;

/// Connections to one hub, shared by clones.
#[derive(Clone)]
pub(super) struct Web {
    agent: Agent,
    home: Address,
    authorization: Option<HeaderValue>,
}

/// What to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask {
    /// Headers, from the hub only.
    Head,
    /// The body from byte `offset` on, wherever the hub redirects to.
    Body { offset: u64 },
}

/// An answer, and the headers of all answers of the hub itself, in order.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) trail: Vec<HeaderMap>,
}

impl Web {
    /// Prepares for a hub without sending anything.
    ///
    /// # Errors
    /// [`HubError::Setting`] if endpoint or token cannot be used.
    pub(super) fn new(endpoint: &str, token: Option<&str>) -> Result<Self, HubError> {
        let home = Address::parse(endpoint).ok_or_else(|| HubError::Setting {
            name: "HF_ENDPOINT",
            wanted: "an address over http or https",
            found: format!("`{endpoint}`"),
        })?;
        let bearer = |token: &str| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value.map_err(|_| HubError::Setting {
                name: "HF_TOKEN",
                wanted: "printable characters",
                found: "others".to_owned(),
            })
        };
        let mut authorization = token.map(bearer).transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Followed here, where it is known which server may get the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
            // So that sizes and ranges are those of the files.
            .accept_encoding("identity")
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(STALL))
            .build();
        Ok(Self { agent: config.new_agent(), home, authorization })
    }

    /// Sends a request and follows redirects.
    ///
    /// # Errors
    /// [`HubError`] unless the last answer is as expected.
    pub(super) fn send(&self, first: &Address, ask: Ask) -> Result<Answer, HubError> {
        let mut address = first.clone();
        let mut is_own = true;
        let mut trail = Vec::new();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(&address, ask, is_own)?;
            if is_own {
                trail.push(response.headers().clone());
            }
            match response.status().as_u16() {
                200 | 206 => return Ok(Answer { response, trail }),
                301 | 302 | 303 | 307 | 308 => {}
                _ => return Err(refused(&address, &response)),
            }
            let location = text(response.headers(), "location");
            let Some(target) = location.and_then(|location| address.redirected(location)) else {
                let wanted = "an address, and one over https after one over https".to_owned();
                return Err(unexpected(&address, "redirect", wanted, location));
            };
            // Once redirected elsewhere, no request has the token again, even back at the hub.
            is_own &= target.is_at(&self.home);
            if !is_own && matches!(ask, Ask::Head) {
                return Ok(Answer { response, trail });
            }
            address = target;
        }
        Err(HubError::Redirects { address: first.to_string(), limit: MAX_REDIRECTS })
    }

    fn send_once(
        &self,
        address: &Address,
        ask: Ask,
        is_own: bool,
    ) -> Result<Response<Body>, HubError> {
        let method = if matches!(ask, Ask::Head) { Method::HEAD } else { Method::GET };
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = address.uri().clone();
        let headers = request.headers_mut();
        if let Some(value) = self.authorization.as_ref().filter(|_| is_own) {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        if let Ask::Body { offset: offset @ 1.. } = ask
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(header::RANGE, range);
        }
        let sent = self.agent.run(request);
        sent.map_err(|source| HubError::Transport { address: address.to_string(), source })
    }
}

/// Returns a header as text; `None` if it is missing or not text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Makes the error of an answer that is not as expected.
pub(super) fn unexpected(
    address: &Address,
    what: &'static str,
    wanted: String,
    found: Option<&str>,
) -> HubError {
    let found = found.map_or_else(|| "none".to_owned(), |found| format!("{found:?}"));
    HubError::Unexpected { address: address.to_string(), what, wanted, found }
}

fn refused(address: &Address, response: &Response<Body>) -> HubError {
    let headers = response.headers();
    let seconds = text(headers, "retry-after").and_then(|text| text.trim().parse().ok());
    let reason = text(headers, "x-error-message").map(|reason| format!(": {reason}"));
    HubError::Status {
        address: address.to_string(),
        status: response.status().as_u16(),
        reason: reason.unwrap_or_default(),
        retry_after: seconds.map(Duration::from_secs),
    }
}
