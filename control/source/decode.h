// One function per kind: a document's fields to the resource. Inside control/source only.
#pragma once

#include "control/source/fields.h"
#include "control/source/resource.h"

namespace tulle::control {

// metadata; `namespaced`: its namespace is "default" where none is given.
Metadata decode_metadata(Fields& document, bool namespaced);

Namespace decode_namespace(Fields& document);
Service decode_service(Fields& document);
EndpointSlice decode_endpoint_slice(Fields& document);
Server decode_server(Fields& document);
HttpRoute decode_http_route(Fields& document, std::string_view group);

LabelSelector decode_label_selector(const YamlNode* node, const std::string& path, Report& report);

}  // namespace tulle::control
