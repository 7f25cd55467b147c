//! Every format there and back, with a decoder of our own beside the encoder; and senders against a collector.
mod arbitrary;
mod bridge;
mod chrome;
mod folded;
mod otlp;
mod perfetto;
mod sample;
mod send;
mod wire;
