//! The address of a collector.
use std::{fmt, str::FromStr};

use crate::ExportError;

/// The transport of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, with protobuf.
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// An address `grpc://HOST:PORT` or `http://HOST:PORT[/PATH]`; the default path is `/v1/traces`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The transport.
    pub protocol: Protocol,
    /// `HOST:PORT`.
    pub authority: String,
    /// Path of the URL; for HTTP only.
    pub path: String,
}

/// Default path of OTLP over HTTP.
const TRACES: &str = "/v1/traces";

impl FromStr for Endpoint {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let wrong = || ExportError::Endpoint(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (protocol, port) = match scheme.to_ascii_lowercase().as_str() {
            "grpc" => (Protocol::Grpc, 4317u16),
            "http" => (Protocol::Http, 4318),
            "https" | "grpcs" => return Err(ExportError::Tls(text.to_owned())),
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let parsed: tonic::codegen::http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        let has_path = !matches!(path, "" | "/");
        if parsed.host().is_empty() || authority.contains('@') || protocol == Protocol::Grpc && has_path {
            return Err(wrong());
        }
        let written = authority.strip_prefix(parsed.host()).unwrap_or_default();
        let port = match written.strip_prefix(':') {
            Some(digits) => digits.parse().map_err(|_| wrong())?,
            None => port,
        };
        let authority = format!("{}:{port}", parsed.host());
        let path = if has_path { path } else { TRACES };
        path.parse::<tonic::codegen::http::Uri>().map_err(|_| wrong())?;
        Ok(Self { protocol, authority, path: path.into() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Grpc => write!(f, "grpc://{}", self.authority),
            Protocol::Http => write!(f, "http://{}{}", self.authority, self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let shown = |text: &str| text.parse::<Endpoint>().map(|e| e.to_string()).map_err(|e| e.to_string());
        assert_eq!(shown("http://localhost:4318").unwrap(), "http://localhost:4318/v1/traces");
        assert_eq!(shown("http://[::1]/").unwrap(), "http://[::1]:4318/v1/traces");
        assert_eq!(shown("HTTP://a:1/x/v1/traces").unwrap(), "http://a:1/x/v1/traces");
        assert_eq!(shown("grpc://a").unwrap(), "grpc://a:4317");
        for wrong in ["", "a:1", "http://", "ftp://a", "grpc://a/x", "http://a:b", "http://a:", "http://u@a"]
        {
            assert!(shown(wrong).unwrap_err().contains("http://HOST:PORT"), "{wrong}");
        }
        assert!(shown("https://a").unwrap_err().contains("TLS is not built in"));
    }
}
