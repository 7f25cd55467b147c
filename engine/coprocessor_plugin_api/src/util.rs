//! Name and version of a plugin, and the macro that declares it.
use crate::plugin_api::CoprocessorPlugin;

/// Name and version of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// Name by which requests select the plugin.
    pub name: &'static str,
    /// Version, by the rules of semantic versioning.
    pub version: &'static str,
}

/// A plugin with its name, as a store registers it.
pub struct DeclaredPlugin {
    /// Name and version.
    pub info: PluginInfo,
    /// The plugin.
    pub plugin: Box<dyn CoprocessorPlugin>,
}

/// Declares the function `declared_plugin`, which creates the plugin for a store: `declare_plugin!(name, version,
/// plugin)`. Name and version are those of the package if they are omitted. One module declares one plugin.
#[macro_export]
macro_rules! declare_plugin {
    ($plugin:expr) => {
        $crate::declare_plugin!(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), $plugin);
    };
    ($name:expr, $plugin:expr) => {
        $crate::declare_plugin!($name, env!("CARGO_PKG_VERSION"), $plugin);
    };
    ($name:expr, $version:expr, $plugin:expr) => {
        /// Creates the plugin of this module.
        pub fn declared_plugin() -> $crate::DeclaredPlugin {
            let info = $crate::PluginInfo { name: $name, version: $version };
            $crate::DeclaredPlugin { info, plugin: Box::new($plugin) }
        }
    };
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use crate::*;

    #[derive(Default)]
    struct Echo;

    impl CoprocessorPlugin for Echo {
        fn on_raw_coprocessor_request(
            &self,
            _ranges: Vec<Range<Key>>,
            request: RawRequest,
            _storage: &dyn RawStorage,
        ) -> PluginResult<RawResponse> {
            Ok(request)
        }
    }

    mod named {
        declare_plugin!("echo", "1.2.3", super::Echo);
    }

    mod of_the_package {
        declare_plugin!(super::Echo);
    }

    #[test]
    fn a_plugin_has_the_declared_name_or_that_of_its_package() {
        assert_eq!(named::declared_plugin().info, PluginInfo { name: "echo", version: "1.2.3" });
        let info = of_the_package::declared_plugin().info;
        assert_eq!(info, PluginInfo { name: "coprocessor_plugin_api", version: env!("CARGO_PKG_VERSION") });
    }
}
