//! Which dialect a provider speaks, and which endpoint a request names.

use http::Method;

/// The wire dialect of a provider (Talon's `api_family`). Azure OpenAI, Ollama and every OpenAI-compatible server
/// speak [`Family::OpenAi`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `/v1/chat/completions`, `/v1/responses`, `/v1/embeddings`.
    OpenAi,
    /// `/v1/messages`.
    Anthropic,
}

/// What a request asks of a provider, as far as metering and editing care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// OpenAI chat completions.
    ChatCompletions,
    /// OpenAI legacy text completions.
    Completions,
    /// OpenAI Responses.
    Responses,
    /// OpenAI embeddings.
    Embeddings,
    /// The model catalogue of either family, whole or one entry.
    Models,
    /// Anthropic messages.
    Messages,
    /// Anthropic's token counter, which costs nothing.
    CountTokens,
    /// Anything else: passed through as it is.
    Other,
}

/// A path that two servers could read differently, so that metering could be dodged: dot or empty segments,
/// backslashes, control bytes, or percent-encoded letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request path is ambiguous")]
pub struct AmbiguousPath;

impl Endpoint {
    /// Classifies a request by method and by the path the provider will see (with or without `/v1`, Azure's
    /// `/openai/deployments/{deployment}/…` too; a query string is ignored).
    ///
    /// Case is ignored and `%2F` counts as a slash: some servers do so, and an endpoint that costs money must not be
    /// taken for [`Endpoint::Other`].
    ///
    /// # Errors
    /// [`AmbiguousPath`] when the path has no single reading.
    pub fn classify(method: &Method, path: &str) -> Result<Self, AmbiguousPath> {
        let path = path.split_once('?').map_or(path, |(before, _)| before);
        let plain = decoded(path)?;
        let trimmed = plain.trim_start_matches('/').trim_end_matches('/');
        let segments: Vec<&str> = trimmed.split('/').collect();
        let ambiguous = segments.iter().any(|s| matches!(*s, "" | "." | ".."));
        if ambiguous && !trimmed.is_empty() {
            return Err(AmbiguousPath);
        }
        Ok(named(method, after_base(&segments)))
    }

    /// The dialect whose envelope this endpoint answers in, where the path alone decides it.
    #[must_use]
    pub fn family(self) -> Option<Family> {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Embeddings => {
                Some(Family::OpenAi)
            }
            Self::Messages | Self::CountTokens => Some(Family::Anthropic),
            Self::Models | Self::Other => None,
        }
    }

    /// Whether calls are priced by tokens, so that their body is read with [`crate::request::read`] and a
    /// reservation is made.
    #[must_use]
    pub fn is_metered(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Embeddings
            | Self::Messages => true,
            Self::Models | Self::CountTokens | Self::Other => false,
        }
    }

    /// Whether a request names its model in a JSON body that [`crate::request::read`] understands: every metered
    /// endpoint, and the token counter, which costs nothing but is routed and ruled by its model all the same.
    #[must_use]
    pub fn names_model(self) -> bool {
        self.is_metered() || self == Self::CountTokens
    }

    /// Whether a request makes something whose price nobody can tell beforehand (images, audio, uploads, batches, and
    /// whatever a provider adds next). Reading and deleting make nothing.
    #[must_use]
    pub fn makes_unmetered(self, method: &Method) -> bool {
        self == Self::Other && ![Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE].contains(method)
    }

    /// Whether the endpoint can answer with a stream of events.
    #[must_use]
    pub fn can_stream(self) -> bool {
        match self {
            Self::ChatCompletions | Self::Completions | Self::Responses | Self::Messages => true,
            Self::Embeddings | Self::Models | Self::CountTokens | Self::Other => false,
        }
    }
}

/// The deployment in a path like Azure's `/openai/deployments/{deployment}/chat/completions`, as its provider reads it.
///
/// # Errors
/// [`AmbiguousPath`] when the path has no single reading, which two deployments have not either.
pub fn deployment(path: &str) -> Result<Option<String>, AmbiguousPath> {
    let path = path.split_once('?').map_or(path, |(before, _)| before);
    let plain = decoded(path)?;
    let segments: Vec<&str> = plain.trim_matches('/').split('/').collect();
    let mut rest = segments.as_slice();
    let mut found = None;
    loop {
        rest = match rest {
            [word, name, after @ ..] if word.eq_ignore_ascii_case("deployments") => {
                if found.replace((*name).to_owned()).is_some() {
                    return Err(AmbiguousPath);
                }
                after
            }
            [word, after @ ..] if is_base(word) => after,
            [] | [..] => return Ok(found),
        };
    }
}

/// Undoes percent-encoding of reserved characters; encoded letters, digits and dots have no honest use.
fn decoded(path: &str) -> Result<String, AmbiguousPath> {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        let byte = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or(AmbiguousPath)?;
        if byte.is_ascii_alphanumeric()
            || byte < 0x20
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b'\\')
        {
            return Err(AmbiguousPath);
        }
        plain.push_str(before);
        plain.push(if byte == b'/' { '/' } else { ':' });
        rest = after.get(2..).unwrap_or_default();
    }
    plain.push_str(rest);
    let clean = !plain.bytes().any(|b| b < 0x20 || matches!(b, b'\\' | b'#'));
    if clean { Ok(plain) } else { Err(AmbiguousPath) }
}

/// Drops the leading segments that only say where the API lives: `v1`, `openai`, `deployments/{name}`, …
fn after_base<'a, 's>(segments: &'a [&'s str]) -> &'a [&'s str] {
    let mut rest = segments;
    loop {
        rest = match rest {
            [word, _, after @ ..] if word.eq_ignore_ascii_case("deployments") => after,
            [word, after @ ..] if is_base(word) => after,
            [] | [..] => return rest,
        };
    }
}

fn is_base(segment: &str) -> bool {
    let version =
        segment.strip_prefix(['v', 'V']).is_some_and(|s| s.starts_with(|c: char| c.is_ascii_digit()));
    version || ["openai", "anthropic", "api"].iter().any(|word| segment.eq_ignore_ascii_case(word))
}

fn named(method: &Method, rest: &[&str]) -> Endpoint {
    let lower: Vec<String> = rest.iter().take(3).map(|s| s.to_ascii_lowercase()).collect();
    let words: Vec<&str> = lower.iter().map(String::as_str).collect();
    match (method == Method::POST, words.as_slice()) {
        (true, ["chat", "completions"]) => Endpoint::ChatCompletions,
        (true, ["completions"]) => Endpoint::Completions,
        (true, ["responses"]) => Endpoint::Responses,
        (true, ["embeddings"]) => Endpoint::Embeddings,
        (true, ["messages"]) => Endpoint::Messages,
        (true, ["messages", "count_tokens"]) => Endpoint::CountTokens,
        (false, ["models", ..]) if method == Method::GET || method == Method::HEAD => Endpoint::Models,
        _ => Endpoint::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str) -> Result<Endpoint, AmbiguousPath> {
        Endpoint::classify(&Method::POST, path)
    }

    #[test]
    fn a_path_names_its_endpoint_with_and_without_the_version() {
        for (path, endpoint) in [
            ("/v1/chat/completions", Endpoint::ChatCompletions),
            ("chat/completions", Endpoint::ChatCompletions),
            ("/v1/chat/completions/", Endpoint::ChatCompletions),
            ("/v1/chat/completions?api-version=1", Endpoint::ChatCompletions),
            ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", Endpoint::ChatCompletions),
            ("/openai/v1/responses", Endpoint::Responses),
            ("/openai/responses", Endpoint::Responses),
            ("/V1/Chat/Completions", Endpoint::ChatCompletions),
            ("/v1/chat%2Fcompletions", Endpoint::ChatCompletions),
            ("/v1/completions", Endpoint::Completions),
            ("/v1/embeddings", Endpoint::Embeddings),
            ("/v1/messages", Endpoint::Messages),
            ("/messages/count_tokens", Endpoint::CountTokens),
            ("/v1/messages/batches", Endpoint::Other),
            ("/v1/threads/t_1/messages", Endpoint::Other),
            ("/v1/audio/speech", Endpoint::Other),
            ("/", Endpoint::Other),
        ] {
            assert_eq!(post(path), Ok(endpoint), "{path}");
        }
    }

    #[test]
    fn the_method_decides_between_a_call_and_a_listing() {
        assert_eq!(Endpoint::classify(&Method::GET, "/v1/models"), Ok(Endpoint::Models));
        assert_eq!(Endpoint::classify(&Method::GET, "/v1/models/org%2Fname"), Ok(Endpoint::Models));
        assert_eq!(Endpoint::classify(&Method::GET, "/v1/chat/completions"), Ok(Endpoint::Other));
        assert_eq!(Endpoint::classify(&Method::DELETE, "/v1/models/m"), Ok(Endpoint::Other));
    }

    #[test]
    fn a_deployment_is_told_by_the_path_alone() {
        for (path, wanted) in [
            ("/openai/deployments/gpt-4o/chat/completions?api-version=1", Ok(Some("gpt-4o".to_owned()))),
            ("/OpenAI/Deployments/m/images/generations", Ok(Some("m".to_owned()))),
            ("/openai/v1/chat/completions", Ok(None)),
            ("/v1/files/deployments/m", Ok(None)),
            ("/deployments/a/deployments/b/chat/completions", Err(AmbiguousPath)),
        ] {
            assert_eq!(deployment(path), wanted, "{path}");
        }
    }

    #[test]
    fn a_path_with_two_readings_is_refused() {
        for path in [
            "/v1/x/../chat/completions",
            "/v1//chat/completions",
            "/v1/./models",
            "/v1/%63hat/completions",
            "/v1/%2e%2e/x",
            "/v1/chat\\completions",
            "/v1/x%",
            "/v1/%zz",
            "/v1/%252e",
        ] {
            assert_eq!(post(path), Err(AmbiguousPath), "{path}");
        }
    }
}
