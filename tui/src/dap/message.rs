//! Messages of the protocol: requests of the client; responses and events for it.
use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Value, json};

/// A request of the client.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Request {
    /// Number of the request, which the response names.
    pub seq: i64,
    /// The name of the request.
    pub command: String,
    /// The arguments; null if there are none.
    #[serde(default)]
    pub arguments: Value,
}

impl Request {
    /// Parses a body.
    ///
    /// # Errors
    /// A sentence if the body is not a request.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|e| format!("expected a message as JSON, found another text ({e}): send a request"))?;
        match value.get("type").and_then(Value::as_str) {
            Some("request") => {}
            found => {
                let found = found.unwrap_or("no type");
                return Err(format!("expected a message of type `request`, found `{found}`: send a request"));
            }
        }
        serde_json::from_value(value).map_err(|e| {
            format!("expected a request with `seq` and `command`, found another object ({e}): send both")
        })
    }
}

/// Messages for the client, in the order of their numbers.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Value>,
    seq: i64,
}

impl Outbox {
    fn push(&mut self, mut message: Value) {
        self.seq += 1;
        message["seq"] = self.seq.into();
        self.waiting.push_back(message);
    }

    /// Answers a request.
    pub fn respond(&mut self, to: &Request, result: Result<Value, String>) {
        let mut message = json!({
            "type": "response",
            "request_seq": to.seq,
            "command": to.command,
            "success": result.is_ok(),
        });
        match result {
            Ok(Value::Null) => {}
            Ok(body) => message["body"] = body,
            Err(why) => {
                message["message"] = why.as_str().into();
                // An editor that steps fast asks about frames of the stop before; the user cannot act on that.
                let show = !matches!(to.command.as_str(), "stackTrace" | "scopes" | "variables" | "evaluate");
                message["body"] = json!({ "error": { "id": 1, "format": "{why}", "variables": { "why": why }, "showUser": show } });
            }
        }
        self.push(message);
    }

    /// Reports an event.
    pub fn event(&mut self, name: &str, body: Value) {
        let mut message = json!({ "type": "event", "event": name });
        if !body.is_null() {
            message["body"] = body;
        }
        self.push(message);
    }

    /// Shows a line in the client's console; `category` is the protocol's.
    pub fn line(&mut self, category: &str, text: &str) {
        self.event("output", json!({ "category": category, "output": format!("{}\n", text.trim_end()) }));
    }

    /// Takes the messages that wait.
    pub fn take(&mut self) -> Vec<Value> {
        self.waiting.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_request_is_refused_with_a_sentence() {
        let error = |text: &str| Request::parse(text.as_bytes()).unwrap_err();
        assert!(error("x").starts_with("expected a message as JSON"));
        assert!(error("{}").contains("found `no type`"));
        assert!(error(r#"{"type":"event"}"#).contains("found `event`"));
        assert!(error(r#"{"type":"request","seq":1}"#).contains("`command`"));
        let request = Request::parse(br#"{"type":"request","seq":3,"command":"next"}"#).unwrap();
        assert_eq!((request.seq, request.command.as_str(), request.arguments), (3, "next", Value::Null));
    }

    #[test]
    fn responses_and_events_are_numbered() {
        let mut out = Outbox::default();
        let request = Request { seq: 7, command: "next".into(), ..Request::default() };
        out.respond(&request, Err("no".into()));
        out.line("console", "a");
        let sent = out.take();
        assert_eq!((&sent[0]["request_seq"], &sent[0]["message"]), (&json!(7), &json!("no")));
        assert_eq!((&sent[1]["seq"], &sent[1]["body"]["output"]), (&json!(2), &json!("a\n")));
        assert!(out.take().is_empty());
    }
}
