//! The SQL expression of a path.

use ferrohub_core::twins::TwinDocument;
use ferrohub_query::plan::{Collection, Member, Path, Root};

use super::indexes::IndexedPath;
use super::source::Source;
use super::sql::Parameters;

/// What expressions depend on.
pub(super) struct Scope<'a> {
    pub(super) source: Source,
    pub(super) collection: Collection,
    pub(super) indexed: &'a [IndexedPath],
    pub(super) parameters: Parameters,
}

/// The SQL expression of a value. `NULL` is undefined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// The value is a string or undefined, and this is the string itself.
    Text(String),
    /// The JSON text of the value.
    Json(String),
}

impl Expression {
    fn undefined() -> Self {
        Self::Json("NULL".to_owned())
    }

    /// Returns the expression of the JSON text.
    pub(super) fn into_json(self) -> String {
        match self {
            Self::Text(text) => format!("ferrohub_json({text})"),
            Self::Json(json) => json,
        }
    }
}

impl Scope<'_> {
    /// Returns the value of a path.
    pub(super) fn path(&mut self, path: &Path) -> Expression {
        let Path::Known { root, members } = path else { return Expression::undefined() };
        if let Some(index) = self.indexed.iter().find(|indexed| indexed.is(path)) {
            return Expression::Json(format!("(t.{})", index.expression()));
        }
        if self.source == Source::Jobs {
            return self.job_path(*root, members);
        }
        let whole = members.is_empty();
        match root {
            Root::Tags => self.object("tags", "{}", members),
            Root::Desired => self.section("desired", members),
            Root::Reported => self.section("reported", members),
            // A twin that matches none has no such member.
            Root::Configurations if whole => json("nullif(json(t.configurations), '{}')"),
            Root::Configurations => self.member("t.configurations", members),
            Root::Properties if whole => self.properties(),
            Root::Capabilities => self.capabilities(members),
            Root::X509Thumbprint => self.thumbprints(members),
            Root::ParentScopes if self.collection == Collection::Devices => {
                self.member("i.parent_scopes", members)
            }
            // The others are strings and numbers, and so have no members.
            _ if !whole => Expression::undefined(),
            Root::DeviceId => Expression::Text(self.source.device_id().to_owned()),
            Root::ModuleId if self.collection == Collection::Modules => {
                Expression::Text(self.source.module_id().to_owned())
            }
            Root::Etag => text("ferrohub_etag(coalesce(t.updates, 1))"),
            Root::DeviceEtag => text("i.etag"),
            Root::Status => text("iif(i.disabled, 'disabled', 'enabled')"),
            Root::StatusReason => text("i.status_reason"),
            Root::StatusUpdateTime => text("ferrohub_time(i.status_updated)"),
            Root::ConnectionState => text(
                "iif(ferrohub_connected(i.device_id, i.module_id, i.generation_id), 'Connected', 'Disconnected')",
            ),
            Root::LastActivityTime => text(
                "ferrohub_time(ferrohub_last_activity(i.device_id, i.module_id, i.generation_id, i.last_activity))",
            ),
            Root::CloudToDeviceMessageCount => json("CAST(i.messages AS TEXT)"),
            Root::AuthenticationType => text(
                "CASE i.authentication WHEN 0 THEN 'sas' WHEN 1 THEN 'selfSigned' WHEN 2 THEN 'certificateAuthority' \
                 ELSE 'none' END",
            ),
            Root::ModelId => text("coalesce(t.model_id, '')"),
            Root::Version => json("CAST(coalesce(t.updates, 1) + coalesce(t.reported_version, 1) AS TEXT)"),
            Root::DeviceScope => text("i.device_scope"),
            // No twin has these: modules have no parents, devices no module id, and twins no members of jobs.
            _ => Expression::undefined(),
        }
    }

    /// A section of a twin: its values, and the members that the hub adds.
    fn section(&mut self, name: &str, members: &[Member]) -> Expression {
        let version = format!("coalesce(t.{name}_version, 1)");
        match members {
            [] => {
                let default = self.default_metadata();
                Expression::Json(format!(
                    "json_set(coalesce(t.{name}, '{{}}'), '$.\"$metadata\"', \
                     json(coalesce(t.{name}_metadata, {default})), '$.\"$version\"', {version})"
                ))
            }
            [Member::Name(member), rest @ ..] if member == "$version" => match rest {
                [] => Expression::Json(format!("CAST({version} AS TEXT)")),
                _ => Expression::undefined(),
            },
            [Member::Name(member), rest @ ..] if member == "$metadata" => {
                let default = self.default_metadata();
                let column = format!("coalesce(t.{name}_metadata, {default})");
                if rest.is_empty() {
                    Expression::Json(format!("json({column})"))
                } else {
                    self.member(&column, rest)
                }
            }
            _ => self.object(name, "{}", members),
        }
    }

    fn default_metadata(&mut self) -> String {
        let metadata = TwinDocument::default().desired.metadata;
        self.parameters.bind(serde_json::Value::from(metadata).to_string())
    }

    fn properties(&mut self) -> Expression {
        let [desired, reported] = ["desired", "reported"].map(|name| self.section(name, &[]).into_json());
        Expression::Json(format!("json_object('desired', json({desired}), 'reported', json({reported}))"))
    }

    /// A column of `twin` that is an object; `default` if the twin was never changed.
    fn object(&mut self, column: &str, default: &str, members: &[Member]) -> Expression {
        match members {
            [] => Expression::Json(format!("coalesce(json(t.{column}), '{default}')")),
            _ => self.member(&format!("t.{column}"), members),
        }
    }

    /// A value inside a column of JSON.
    pub(super) fn member(&mut self, column: &str, members: &[Member]) -> Expression {
        if members.is_empty() {
            return Expression::Json(format!("json({column})"));
        }
        match json_path(members) {
            Some(path) => Expression::Json(format!("({column} -> {})", self.parameters.bind(path))),
            None => Expression::undefined(),
        }
    }

    fn capabilities(&self, members: &[Member]) -> Expression {
        let edge = "iif(i.iot_edge, 'true', 'false')";
        match (self.collection, members) {
            (Collection::Devices, []) => Expression::Json(format!("'{{\"iotEdge\":' || {edge} || '}}'")),
            (Collection::Devices, [Member::Name(name)]) if name == "iotEdge" => json(edge),
            _ => Expression::undefined(),
        }
    }

    /// The thumbprints of an identity that authenticates with self-signed certificates. The columns of other identities
    /// have their keys, which must not be read here.
    fn thumbprints(&self, members: &[Member]) -> Expression {
        let value = |column: &str| {
            format!("iif(i.authentication = 1, coalesce(ferrohub_json(i.{column}), 'null'), 'null')")
        };
        match members {
            [] => Expression::Json(format!(
                "'{{\"primaryThumbprint\":' || {} || ',\"secondaryThumbprint\":' || {} || '}}'",
                value("primary_secret"),
                value("secondary_secret")
            )),
            [Member::Name(name)] if name == "primaryThumbprint" => Expression::Json(value("primary_secret")),
            [Member::Name(name)] if name == "secondaryThumbprint" => {
                Expression::Json(value("secondary_secret"))
            }
            _ => Expression::undefined(),
        }
    }
}

fn text(expression: &str) -> Expression {
    Expression::Text(expression.to_owned())
}

fn json(expression: &str) -> Expression {
    Expression::Json(expression.to_owned())
}

/// Returns the members as a path of SQLite's JSON functions; `None` if no JSON of a twin has them. Names are in quotes, with
/// the escapes of JSON.
pub(super) fn json_path(members: &[Member]) -> Option<String> {
    let mut path = "$".to_owned();
    for member in members {
        match member {
            // The limits of twins forbid them.
            Member::Name(name) if name.chars().any(char::is_control) => return None,
            Member::Name(name) => {
                path.push('.');
                path.push_str(&serde_json::to_string(name).ok()?);
            }
            Member::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    Some(path)
}
