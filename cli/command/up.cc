// tulle up: a mesh on this machine.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

#include "cli/command/api.h"
#include "cli/command/commands.h"
#include "cli/command/daemon.h"
#include "cli/command/local_mesh.h"
#include "cli/pod/process.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

struct UpOptions {
  std::string dir = "mesh";
  bool dir_given = false;
  std::string default_policy;
  std::string log_level;
  std::string identity_lifetime;
  bool foreground = false;
  bool no_prometheus = false;
};

// Only one `tulle up` or `tulle down` of a mesh works at a time; the lock goes with the descriptor.
Result<Fd> take_lock(const MeshPaths& mesh) {
  Fd fd(::open(mesh.in_runtime("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail(sys_error(mesh.in_runtime("lock"), errno));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::kExhausted, cat("another `tulle up` of mesh ", mesh.name, " is at work"));
  return fd;
}

// The full path of the folder of manifests, which may be yet to be made.
Result<std::string> full_path(const std::string& dir) {
  std::error_code ec;
  std::filesystem::path path = std::filesystem::weakly_canonical(std::filesystem::absolute(dir, ec), ec);
  if (ec || dir.empty())
    return fail(Code::kInvalid, cat("--dir ", tulle::quoted(dir), ": ", ec ? ec.message() : "is empty"));
  if (std::filesystem::exists(path, ec) && !std::filesystem::is_directory(path, ec))
    return fail(Code::kInvalid,
                cat("--dir ", tulle::quoted(dir), " is not a folder; accepted: a folder, or a path to make one"));
  std::string text = path.string();
  if (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

// Makes the folder, with an example, where there is none. True: it did.
Result<bool> prepare_folder(const std::string& path) {
  std::error_code ec;
  if (std::filesystem::exists(path, ec)) return false;
  std::filesystem::create_directories(path, ec);
  if (ec) return fail(Code::kIo, cat("making folder ", path, ": ", ec.message()));
  std::string example = cat(path, "/example.yaml");
  std::FILE* file = std::fopen(example.c_str(), "wx");
  bool written = file && std::fputs(example_manifest(), file) >= 0;
  int err = errno;
  if (file && std::fclose(file) != 0) written = false;
  if (written) return true;
  ::unlink(example.c_str());
  ::rmdir(path.c_str());
  return fail(sys_error(example, err));
}

// Waits until the control plane answers; error: it ended or took too long.
Result<> wait_for_control(const MeshPaths& mesh, const ProcessId& control, Duration patience) {
  for (Clock::time_point end = Clock::now() + patience; Clock::now() < end;) {
    if (ask_control(mesh, "/v1/mesh")) return {};
    if (!is_alive(control))
      return fail(Code::kInternal, cat("tulle-control has ended; the end of ", control_log(mesh), ":\n",
                                       log_tail(control_log(mesh), 10)));
    std::this_thread::sleep_for(20ms);
  }
  return fail(Code::kTimeout,
              cat("tulle-control does not answer after ", format_duration(patience), "; see ", control_log(mesh)));
}

Result<> write_pid_file(const MeshPaths& mesh, std::string_view name, const ProcessId& process) {
  std::string path = mesh.in_runtime(cat(name, ".pid"));
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  std::string text = process.to_string();
  if (fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return {};
  return fail(sys_error(path, errno));
}

Result<ProcessId> start(const MeshPaths& mesh, std::string_view name, std::vector<std::string> command, std::string log,
                        bool detached) {
  TULLE_TRY(ProcessId process, start_daemon({std::move(command), std::move(log), detached}));
  if (auto written = write_pid_file(mesh, name, process); !written) {
    end_process(process, 5s);
    return fail(std::move(written).error());
  }
  return process;
}

Result<ProcessId> start_control(const MeshPaths& mesh, const UpOptions& options, const std::string& program,
                                const std::string& dir) {
  std::vector<std::string> command{program,   "--mesh",   mesh.name,  "--dir",    dir,
                                   "--state", mesh.state, "--socket", mesh.socket};
  if (!options.default_policy.empty())
    command.insert(command.end(), {"--default-inbound-policy", options.default_policy});
  if (!options.log_level.empty()) command.insert(command.end(), {"--log-level", options.log_level});
  if (!options.identity_lifetime.empty())
    command.insert(command.end(), {"--identity-lifetime", options.identity_lifetime});
  return start(mesh, "control", std::move(command), control_log(mesh), !options.foreground);
}

// A TCP port on loopback that is free now.
Result<uint16_t> free_port() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in sa{};
  sa.sin_family = AF_INET;
  sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof sa;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&sa), sizeof sa) != 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&sa), &size) != 0)
    return fail(sys_error("looking for a free port", errno));
  return ntohs(sa.sin_port);
}

// Starts Prometheus; returns its address, "" where it is not installed or not wanted.
Result<std::string> start_prometheus(const MeshPaths& mesh, const UpOptions& options, std::string_view mesh_json) {
  std::string program = options.no_prometheus ? "" : find_program("prometheus");
  std::string targets = targets_url(mesh_json);
  if (program.empty() || targets.empty()) return std::string();
  TULLE_TRY(uint16_t port, free_port());
  std::string config = mesh.in_runtime("prometheus.yml"), address = cat("127.0.0.1:", port);
  std::FILE* file = std::fopen(config.c_str(), "w");
  if (!file) return fail(sys_error(config, errno));
  std::fputs(prometheus_config(targets).c_str(), file);
  std::fclose(file);
  TULLE_TRY_VOID(start(mesh, "prometheus",
                       {program, cat("--config.file=", config), cat("--storage.tsdb.path=", mesh.state, "/prometheus"),
                        "--storage.tsdb.retention.time=7d", cat("--web.listen-address=", address), "--log.level=warn"},
                       cat(mesh.state, "/prometheus.log"), !options.foreground));
  std::FILE* url = std::fopen(mesh.in_runtime("prometheus.url").c_str(), "w");
  if (url) {
    std::fputs(cat("http://", address, '\n').c_str(), url);
    std::fclose(url);
  }
  return cat("http://", address);
}

size_t count_problems(const MeshPaths& mesh) {
  auto text = ask_control(mesh, "/v1/problems");
  auto problems = text ? parse_problems(*text) : fail(text.error());
  return problems ? problems->size() : 0;
}

std::string summary(const MeshPaths& mesh, const std::string& dir, bool made, const std::string& prometheus) {
  std::string flag = mesh.name == "local" ? "" : cat(" --mesh ", mesh.name);
  std::string out = cat("Mesh ", mesh.name, " is up.\n");
  size_t problems = count_problems(mesh);
  append(out, "  manifests   ", dir,
         made ? " (new, with a commented example)" : " (a change takes effect when it is saved)", "\n");
  if (problems) append(out, "              ", problems, " problem(s): `tulle validate", flag, "` shows them\n");
  append(out, "  control     ", mesh.socket, "; its log: ", control_log(mesh), "\n");
  append(out, "  state       ", mesh.state, " (keys and addresses: it stays after `tulle down`)\n");
  append(out, "  Prometheus  ",
         prometheus.empty() ? "none (install Debian's package `prometheus` to keep metrics)" : prometheus, "\n");
  append(out, "What to do next, each in a terminal:\n");
  append(out, "  tulle run", flag, " --service hello --port http=8080 -- python3 -m http.server 8080\n");
  append(out, "  tulle run", flag, " --service me -- curl http://hello:8080/\n");
  append(out, "  tulle edges", flag, " --watch\n");
  append(out, "  tulle down", flag, "\n");
  return out;
}

// Stays until a signal comes or the control plane ends, then ends what was started.
int stay(const MeshPaths& mesh, const ProcessId& control, const sigset_t& signals) {
  Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  while (true) {
    signalfd_siginfo info{};
    if (::read(fd.get(), &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo != SIGCHLD) break;
    if (is_alive(control)) continue;
    write_err(
        cat("tulle: tulle-control has ended; the end of ", control_log(mesh), ":\n", log_tail(control_log(mesh), 10)));
    abandon_mesh(mesh);
    return kExitFailure;
  }
  end_mesh(mesh);
  return kExitOk;
}

// The answer of /v1/mesh, where the mesh is up and stays so: one of `tulle up --foreground` that was killed is about to
// end.
std::optional<std::string> running(const MeshPaths& mesh) {
  std::string owner = mesh.in_runtime("up.pid");
  if (::access(owner.c_str(), F_OK) == 0 && !read_pid_file(owner)) return std::nullopt;
  if (!read_pid_file(mesh.in_runtime("control.pid"))) return std::nullopt;
  auto answer = ask_control(mesh, "/v1/mesh");
  return answer ? std::optional(std::move(*answer)) : std::nullopt;
}

// `tulle up` of a mesh that is up.
Result<int> already_up(const MeshPaths& mesh, const UpOptions& options, const std::string& dir,
                       std::string_view mesh_json) {
  Wishes wishes;
  if (options.dir_given) wishes.dir = dir;
  if (!options.default_policy.empty()) wishes.default_policy = options.default_policy;
  if (!options.log_level.empty()) wishes.log_level = options.log_level;
  if (!options.identity_lifetime.empty())
    wishes.identity_lifetime = parse_duration(options.identity_lifetime).value_or(0s);
  wishes.foreground = options.foreground;
  wishes.no_prometheus = options.no_prometheus;
  auto different = differences(wishes, mesh_json, read_pid_file(mesh.in_runtime("prometheus.pid")).has_value());
  std::string flag = mesh.name == "local" ? "" : cat(" --mesh ", mesh.name);
  if (!different.empty())
    return fail(Code::kInvalid,
                cat("mesh ", mesh.name, " is up already, and otherwise than asked for:\n  ", join(different, "\n  "),
                    "\nEnd it first (`tulle down", flag, "`), or leave these flags out"));
  size_t problems = count_problems(mesh);
  std::string said = cat("Mesh ", mesh.name, " is up already.\n");
  if (problems) append(said, problems, " problem(s) in its manifests: `tulle validate", flag, "` shows them\n");
  return write_out(said);
}

// Starts all there is; `lock` is let go once that is done.
Result<int> start_mesh(const MeshPaths& mesh, const UpOptions& options, const std::string& dir, Fd lock) {
  TULLE_TRY(std::string program, sibling_program("tulle-control"));
  TULLE_TRY_VOID(make_private_folder(mesh.state));
  TULLE_TRY(bool made, prepare_folder(dir));

  sigset_t signals;
  ::sigemptyset(&signals);
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::sigaddset(&signals, s);
  if (options.foreground) {
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    if (auto self = find_process(::getpid())) TULLE_TRY_VOID(write_pid_file(mesh, "up", *self));
  }
  TULLE_TRY(ProcessId control, start_control(mesh, options, program, dir));
  TULLE_TRY_VOID(wait_for_control(mesh, control, 15s));
  TULLE_TRY(std::string mesh_json, ask_control(mesh, "/v1/mesh"));
  auto prometheus = start_prometheus(mesh, options, mesh_json);
  if (!prometheus) write_err(cat("tulle: going on without Prometheus: ", prometheus.error().reason, "\n"));
  int said = write_out(summary(mesh, dir, made, prometheus.value_or("")));
  if (!options.foreground) return said;
  lock.reset();
  return stay(mesh, control, signals);
}

Result<int> up(const UpOptions& options, const std::string& mesh_name) {
  TULLE_TRY(MeshPaths mesh, mesh_paths(mesh_name));
  TULLE_TRY(std::string dir, full_path(options.dir));
  TULLE_TRY_VOID(make_private_folder(mesh.runtime));
  TULLE_TRY(Fd lock, take_lock(mesh));
  if (auto mesh_json = running(mesh)) return already_up(mesh, options, dir, *mesh_json);
  end_programs(mesh);  // what a killed mesh has left
  auto done = start_mesh(mesh, options, dir, std::move(lock));
  if (!done) abandon_mesh(mesh);
  return done;
}

}  // namespace

void add_up_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<UpOptions>();
  CLI::App* command = app.add_subcommand("up", "Start a mesh on this machine.");
  command->footer(
      "Starts the control plane on a folder of manifests, and Prometheus when it is installed. They go on in the "
      "background\n"
      "until `tulle down`; a mesh that is up already is left as it is, and flags that it does not have are refused.\n"
      "Several meshes live side by side, each with its --mesh NAME.");
  CLI::Option* dir =
      command
          ->add_option("--dir", options->dir,
                       "folder of manifests (*.yaml, *.yml, *.json); made, with an example, where there is none")
          ->capture_default_str()
          ->type_name("DIR");
  command
      ->add_option("--default-inbound-policy", options->default_policy,
                   "who may talk to a port that no Server names: all-unauthenticated (default),\nall-authenticated, "
                   "cluster-unauthenticated, cluster-authenticated, deny or audit")
      ->check(one_of({"all-unauthenticated", "all-authenticated", "cluster-unauthenticated", "cluster-authenticated",
                      "deny", "audit"}))
      ->type_name("POLICY");
  command
      ->add_option("--log-level", options->log_level,
                   "of the control plane: trace, debug, info (default), warn, error or off")
      ->check(one_of({"trace", "debug", "info", "warn", "error", "off"}))
      ->type_name("LEVEL");
  command
      ->add_option("--identity-lifetime", options->identity_lifetime,
                   "of a workload's certificate, renewed at 70 % of it: 10s or more (default: 24h)")
      ->check([](const std::string& text) {
        auto d = parse_duration(text);
        return d && *d >= 10s ? std::string() : cat("accepted: a duration of 10s or more, such as 24h; got ", text);
      })
      ->type_name("DURATION");
  command->add_flag("--foreground", options->foreground, "stay in the foreground; the mesh ends with this command");
  command->add_flag("--no-prometheus", options->no_prometheus, "do not start Prometheus");
  add_mesh_option(*command, context);
  command->callback([options, dir, &context] {
    options->dir_given = dir->count() > 0;
    auto code = up(*options, context.mesh);
    context.exit_code = code ? *code : report(code.error());
  });
}

}  // namespace tulle::cli
