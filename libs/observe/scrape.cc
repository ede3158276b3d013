#include "libs/observe/scrape.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "libs/base/strings.h"

namespace tulle::observe {

std::string_view Sample::label(std::string_view key) const {
  for (const auto& [name, value] : labels)
    if (name == key) return value;
  return "";
}

namespace {

bool is_name_start(char c) { return (lower(c) >= 'a' && lower(c) <= 'z') || c == '_' || c == ':'; }

// One line, read from the front.
class Line {
 public:
  explicit Line(std::string_view rest) : rest_(rest) {}

  void skip_space() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip_space();
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool empty() const { return rest_.empty(); }

  Result<std::string> name(std::string_view what) {
    skip_space();
    size_t n = 0;
    while (n < rest_.size() && (is_name_start(rest_[n]) || (n > 0 && is_digit(rest_[n])))) ++n;
    if (n == 0) return fail(Code::kInvalid, cat("a ", what, " should stand before ", quoted(rest_, 20)));
    std::string out(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return out;
  }

  // The inside of a label's quotes; the opening one is taken already.
  Result<std::string> quoted_value() {
    std::string out;
    for (size_t i = 0; i < rest_.size(); ++i) {
      char c = rest_[i];
      if (c == '"') {
        rest_.remove_prefix(i + 1);
        return out;
      }
      if (c == '\\' && i + 1 < rest_.size()) {
        char next = rest_[++i];
        if (next == 'n') out += '\n';
        else if (next == '"' || next == '\\') out += next;
        else append(out, '\\', next);
      } else {
        out += c;
      }
    }
    return fail(Code::kInvalid, "a label's value has no closing quote");
  }

  Result<double> number() {
    skip_space();
    std::string_view word = rest_.substr(0, rest_.find_first_of(" \t"));
    rest_.remove_prefix(word.size());
    std::string_view text = word;
    bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    double value = 0;
    auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), value);
    // Beyond a double's range, from_chars leaves the value alone; the exponent's sign tells which end it is.
    if (err == std::errc::result_out_of_range && end == text.data() + text.size())
      value =
          text.find("e-") == text.npos && text.find("E-") == text.npos ? std::numeric_limits<double>::infinity() : 0;
    else if (text.empty() || text[0] == '-' || text[0] == '+' || err != std::errc{} || end != text.data() + text.size())
      return fail(Code::kInvalid, cat("a number should stand where ", quoted(word, 20), " does"));
    return negative ? -value : value;
  }

 private:
  std::string_view rest_;
};

Result<Sample> parse_line(std::string_view text) {
  Line line(text);
  Sample sample;
  TULLE_TRY(sample.name, line.name("metric's name"));
  if (line.take('{')) {
    while (!line.take('}')) {
      TULLE_TRY(std::string name, line.name("label's name"));
      if (!line.take('=') || !line.take('"')) return fail(Code::kInvalid, cat("label ", name, " lacks =\"value\""));
      TULLE_TRY(std::string value, line.quoted_value());
      sample.labels.emplace_back(std::move(name), std::move(value));
      if (line.take(',')) continue;
      if (!line.take('}')) return fail(Code::kInvalid, "the labels do not end with }");
      break;
    }
  }
  TULLE_TRY(sample.value, line.number());
  line.skip_space();
  if (line.empty() || line.take('#')) return sample;  // an exemplar may follow
  TULLE_TRY([[maybe_unused]] double at, line.number());
  line.skip_space();
  if (!line.empty() && !line.take('#')) return fail(Code::kInvalid, "there is more after the time stamp");
  return sample;
}

}  // namespace

Result<std::vector<Sample>> parse_metrics(std::string_view text, size_t max_samples) {
  std::vector<Sample> samples;
  for (size_t number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line == "# EOF") break;
    if (line.empty() || line[0] == '#') continue;
    auto sample = parse_line(line);
    if (!sample) return fail(std::move(sample.error()).with(cat("metrics, line ", number)));
    if (samples.size() >= max_samples)
      return fail(Code::kTooLarge, cat("metrics: more than ", max_samples, " samples"));
    samples.push_back(std::move(*sample));
  }
  return samples;
}

double histogram_quantile(double q, std::span<const Bucket> buckets) {
  if (buckets.size() < 2 || !(buckets.back().count > 0) || std::isnan(q)) return std::nan("");
  double rank = q * buckets.back().count;
  size_t i = 0;
  while (i + 1 < buckets.size() && buckets[i].count < rank) ++i;
  if (i + 1 == buckets.size()) return buckets[i - 1].bound;
  double low = i == 0 ? 0 : buckets[i - 1].bound;
  double below = i == 0 ? 0 : buckets[i - 1].count;
  double inside = buckets[i].count - below;
  if (i == 0 && buckets[0].bound <= 0) return buckets[0].bound;
  if (!(inside > 0)) return low;
  return low + (buckets[i].bound - low) * ((rank - below) / inside);
}

}  // namespace tulle::observe
