//! The plugins of a store. The program that starts the store registers them: TiKV loads dynamic libraries from a
//! folder, which is safe only for libraries of the same build.
use std::{collections::HashMap, fmt, sync::Arc};

use coprocessor_plugin_api::{CoprocessorPlugin, DeclaredPlugin, PluginInfo};
use semver::Version;

/// A plugin that cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum PluginRegistrationError {
    /// The version of the plugin cannot be compared.
    #[error(
        "plugin {name}: expected a version by semantic versioning, such as 1.0.0, found {version:?}: {error}"
    )]
    Version {
        /// Name of the plugin.
        name: &'static str,
        /// Version as declared.
        version: &'static str,
        /// The rule that the version violates.
        error: semver::Error,
    },
    /// Requests select a plugin by its name alone.
    #[error("plugin {0}: expected a name that no other plugin has: rename one of the two")]
    Name(&'static str),
}

/// A plugin that requests can select.
pub struct LoadedPlugin {
    name: &'static str,
    version: Version,
    plugin: Box<dyn CoprocessorPlugin>,
}

impl LoadedPlugin {
    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Returns the plugin itself.
    pub fn plugin(&self) -> &dyn CoprocessorPlugin {
        &*self.plugin
    }
}

/// Plugins by their names; clones share the plugins.
#[derive(Clone, Default)]
pub struct PluginRegistry {
    loaded_plugins: HashMap<&'static str, Arc<LoadedPlugin>>,
}

impl fmt::Debug for PluginRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins = self.loaded_plugins.values().map(|plugin| (plugin.name, plugin.version.to_string()));
        f.debug_map().entries(plugins).finish()
    }
}

impl PluginRegistry {
    /// Adds a plugin.
    ///
    /// # Errors
    /// Its version is none by semantic versioning, or another plugin has its name.
    pub fn register(&mut self, declared: DeclaredPlugin) -> Result<(), PluginRegistrationError> {
        let DeclaredPlugin { info: PluginInfo { name, version }, plugin } = declared;
        if self.loaded_plugins.contains_key(name) {
            return Err(PluginRegistrationError::Name(name));
        }
        let version = Version::parse(version).map_err(|error| PluginRegistrationError::Version {
            name,
            version,
            error,
        })?;
        self.loaded_plugins.insert(name, Arc::new(LoadedPlugin { name, version, plugin }));
        Ok(())
    }

    /// Whether the store has no plugin.
    pub fn is_empty(&self) -> bool {
        self.loaded_plugins.is_empty()
    }

    /// Finds a plugin.
    pub fn get_plugin(&self, name: &str) -> Option<Arc<LoadedPlugin>> {
        self.loaded_plugins.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use coprocessor_plugin_api::{Key, PluginResult, RawRequest, RawResponse, RawStorage};

    use super::*;

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

    fn echo(name: &'static str, version: &'static str) -> DeclaredPlugin {
        DeclaredPlugin { info: PluginInfo { name, version }, plugin: Box::new(Echo) }
    }

    #[test]
    fn plugins_are_found_by_name() {
        let mut registry = PluginRegistry::default();
        assert!(registry.is_empty());
        registry.register(echo("a", "1.0.0")).unwrap();
        registry.register(echo("b", "2.1.0-beta.1")).unwrap();
        assert_eq!(registry.get_plugin("b").unwrap().version().to_string(), "2.1.0-beta.1");
        assert_eq!(registry.get_plugin("a").unwrap().name(), "a");
        assert!(registry.get_plugin("c").is_none() && !registry.is_empty());
    }

    #[test]
    fn plugins_that_no_request_could_select_are_refused() {
        let mut registry = PluginRegistry::default();
        let error = registry.register(echo("a", "one")).unwrap_err().to_string();
        assert!(error.starts_with("plugin a: expected a version"), "{error}");
        assert!(registry.is_empty());
        registry.register(echo("a", "1.0.0")).unwrap();
        let error = registry.register(echo("a", "2.0.0")).unwrap_err().to_string();
        assert!(error.contains("no other plugin"), "{error}");
        assert_eq!(registry.get_plugin("a").unwrap().version().to_string(), "1.0.0");
    }
}
