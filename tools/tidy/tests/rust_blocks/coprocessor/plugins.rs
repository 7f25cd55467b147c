//! Declares what `docs/src/coprocessor/plugins.md` uses of TiKV.
mod coprocessor_plugin_api {
    use std::{future::Future, ops::Range, pin::Pin};

    pub type Key = Vec<u8>;
    pub type Value = Vec<u8>;
    pub type KvPair = (Key, Value);
    pub type RawRequest = Vec<u8>;
    pub type RawResponse = Vec<u8>;

    #[derive(Debug)]
    pub struct PluginError;
    pub type PluginResult<T> = Result<T, PluginError>;
    pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = PluginResult<T>> + 'a>>;

    pub trait CoprocessorPlugin: Send + Sync {
        // Signature of TiKV: components/coprocessor_plugin_api/src/plugin_api.rs::CoprocessorPlugin::on_raw_coprocessor_request
        fn on_raw_coprocessor_request(
            &self,
            ranges: Vec<Range<Key>>,
            request: RawRequest,
            storage: &dyn RawStorage,
        ) -> PluginResult<RawResponse>;
    }

    /// TiKV has `async fn scan(&self, key_range: Range<Key>)`, from which the crate async-trait makes this function.
    pub trait RawStorage {
        fn scan<'a>(&'a self, key_range: Range<Key>) -> Boxed<'a, Vec<KvPair>>;
    }

    #[macro_export]
    macro_rules! declare_plugin {
        ($plugin:expr) => {
            fn create() -> Box<dyn $crate::coprocessor_plugin_api::CoprocessorPlugin> {
                Box::new($plugin)
            }
        };
    }
}

mod futures {
    pub mod executor {
        pub fn block_on<F: std::future::Future>(_: F) -> F::Output {
            unimplemented!()
        }
    }
}

// block 1
