#include "cli/command/observe_view.h"

#include <algorithm>
#include <set>

#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

// The columns of traffic, and a row's cells for them, in the same order.
void add_traffic_columns(std::vector<Column>& columns) {
  columns.push_back({"SUCCESS", "success", true});
  columns.push_back({"RPS", "rps", true});
  columns.push_back({"LATENCY_P50", "latency_p50_ms", true});
  columns.push_back({"LATENCY_P95", "latency_p95_ms", true});
  columns.push_back({"LATENCY_P99", "latency_p99_ms", true});
  columns.push_back({"TCP_CONN", "tcp_conn", true});
  columns.push_back({"READ_BYTES/SEC", "read_bytes_per_second", true, true});
  columns.push_back({"WRITE_BYTES/SEC", "write_bytes_per_second", true, true});
}

void add_traffic_cells(std::vector<Cell>& cells, const Traffic& t) {
  double success = t.success();
  Style style = !(t.rps() > 0) || success >= 1 ? Style::kPlain : success >= 0.99 ? Style::kWarn : Style::kBad;
  cells.push_back(number_cell(success, percent_text(success)).styled(style));
  cells.push_back(t.rps() > 0 ? number_cell(t.rps(), rate_text(t.rps())) : Cell{"-", "0"});
  for (double q : {0.5, 0.95, 0.99}) cells.push_back(number_cell(t.latency_ms(q), ms_text(t.latency_ms(q))));
  cells.push_back(number_cell(t.connections, cat(static_cast<int64_t>(t.connections))));
  cells.push_back(number_cell(t.to_server, bytes_rate_text(t.to_server)));
  cells.push_back(number_cell(t.to_client, bytes_rate_text(t.to_client)));
}

template <class Row, class Ns>
bool one_namespace(const std::vector<Row>& rows, Ns&& ns) {
  std::set<std::string> seen;
  for (const Row& row : rows) seen.insert(ns(row));
  return seen.size() <= 1;
}

}  // namespace

Table stat_table(const std::vector<StatRow>& rows, Grain grain) {
  Table table;
  bool one = one_namespace(rows, [](const StatRow& r) { return r.ns; });
  table.columns.push_back({"NAMESPACE", "namespace", false, one});
  table.columns.push_back({grain == Grain::kPod ? "POD" : "SERVICE", "name"});
  table.columns.push_back({"MESHED", "meshed", true});
  table.columns.push_back({"READY", "ready", true, true});
  table.columns.push_back({"", "pods"});
  add_traffic_columns(table.columns);
  table.empty = grain == Grain::kPod
                    ? "No pod is running: start one with `tulle run`."
                    : "There is no service: declare one by a manifest, or start one with `tulle run --service`.";
  for (const StatRow& row : rows) {
    std::vector<Cell> cells{text_cell(row.ns), text_cell(row.name),
                            Cell{cat(row.meshed, '/', row.pods), cat(row.meshed)},
                            Cell{cat(row.ready, '/', row.pods), cat(row.ready)}, Cell{"", cat(row.pods)}};
    if (row.ready < row.pods) cells[3].style = Style::kWarn;
    add_traffic_cells(cells, row.traffic);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table edge_table(const std::vector<EdgeRow>& rows) {
  Table table;
  bool one = std::ranges::all_of(rows, [&](const EdgeRow& r) {
    return (r.src_ns.empty() || r.src_ns == rows[0].dst_ns) && (r.dst_ns.empty() || r.dst_ns == rows[0].dst_ns);
  });
  table.columns = {{"SRC", "src"},
                   {"DST", "dst"},
                   {"SRC_NS", "src_namespace", false, one},
                   {"DST_NS", "dst_namespace", false, one},
                   {"CLIENT_ID", "client_id", false, true},
                   {"SERVER_ID", "server_id", false, true},
                   {"SECURED", "secured"},
                   {"", "no_tls_reason"},
                   {"", "src_ended"}};
  add_traffic_columns(table.columns);
  table.empty = "No traffic has been seen yet.";
  for (const EdgeRow& row : rows) {
    std::vector<Cell> cells{row.src_text.empty() ? text_cell(row.src) : text_cell(row.src_text, row.src),
                            text_cell(row.dst),
                            text_cell(row.src_ns),
                            text_cell(row.dst_ns),
                            text_cell(row.client_id),
                            text_cell(row.server_id),
                            no_cell(),
                            text_cell(row.reason),
                            bool_cell(row.src_ended, "")};
    cells[6] =
        row.secured ? bool_cell(true, "√").styled(Style::kGood) : bool_cell(false, row.reason).styled(Style::kBad);
    add_traffic_cells(cells, row.traffic);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace tulle::cli
