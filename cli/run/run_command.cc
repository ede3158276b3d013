#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>
#include <memory>

#include "cli/command/mesh_paths.h"
#include "cli/pod/process.h"
#include "cli/run/commands.h"
#include "cli/run/session.h"
#include "libs/base/strings.h"
#include "libs/rt/reactor.h"

namespace tulle::cli {
namespace {

std::vector<std::string> own_environment() {
  std::vector<std::string> out;
  for (char** e = environ; *e; ++e) out.emplace_back(*e);
  return out;
}

// The proxy beside this program, else on the PATH.
Result<std::string> find_proxy(const RunOptions& options) {
  std::string path = options.proxy;
  if (path.empty()) {
    auto folder = program_folder();
    if (folder) path = cat(*folder, "/tulle-proxy");
    if (::access(path.c_str(), X_OK) != 0) path = find_program("tulle-proxy");
  }
  if (path.empty())
    return fail(Code::kNotFound, "there is no tulle-proxy beside this program or on the PATH: give it with --proxy");
  if (::access(path.c_str(), X_OK) != 0) return fail(sys_error(path, errno));
  return path;
}

Result<Fd> open_proxy_log(const RunOptions& options) {
  if (options.proxy_log.empty()) return Fd();
  Fd fd(::open(options.proxy_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd) return fail(sys_error(cat("--proxy-log ", options.proxy_log), errno));
  return fd;
}

// From here on signals come as data; the pod's processes unblock them for themselves.
Result<Fd> take_signals() {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (int number : session_signals()) sigaddset(&wanted, number);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  Fd fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail(sys_error("signalfd", errno));
  return fd;
}

// Coroutines want a plain function: the result goes where main can see it.
rt::Task<void> run_session(rt::Reactor& reactor, Session& session, int& code) {
  code = co_await session.run();
  reactor.stop();
}

Result<int> run(const RunOptions& options) {
  TULLE_TRY_VOID(check_options(options));
  TULLE_TRY(MeshPaths paths, mesh_paths(options.mesh));
  TULLE_TRY(std::string proxy, find_proxy(options));
  TULLE_TRY(Fd proxy_log, open_proxy_log(options));
  TULLE_TRY(Fd signals, take_signals());

  PodSpec spec;
  spec.command = options.command;
  spec.environment = own_environment();
  spec.resolv_conf = default_resolv_conf(options.ns);
  spec.host_ports = options.host_ports;
  spec.share_terminal = ::isatty(STDIN_FILENO) && ::tcgetpgrp(STDIN_FILENO) == ::getpgrp();
  auto pod = Pod::create(spec);
  if (!pod) return fail(Code::kDenied, cat(pod.error().to_string(), " (`tulle check` says more)"));

  for (const SetupError& w : pod->warnings())
    if (w.step == Step::kProc) write_err(cat("tulle: ", w.to_string(), "\n"));

  rt::Reactor reactor;
  Session::Setting setting;
  setting.options = &options;
  setting.control_socket = paths.socket;
  setting.proxy_program = proxy;
  setting.environment = spec.environment;
  setting.proxy_output = proxy_log ? proxy_log.get() : STDERR_FILENO;
  setting.signals = signals.get();
  setting.share_terminal = spec.share_terminal;
  Session session(reactor, *pod, std::move(setting));
  int code = kExitOwnFailure;
  rt::Running running(reactor, run_session(reactor, session, code));
  reactor.run();
  return code;
}

// Adds an option that is parsed by `parse` into `add`, with its error as CLI11 wants it.
template <class F>
CLI::Option* add_parsed(CLI::App& command, const std::string& flag, const std::string& help, F take) {
  return command
      .add_option_function<std::vector<std::string>>(
          flag,
          [flag, take](const std::vector<std::string>& texts) {
            for (const std::string& text : texts)
              if (auto r = take(text); !r) throw CLI::ValidationError(flag, r.error().reason);
          },
          help)
      ->allow_extra_args(false)
      ->take_all();
}

// Who it is. `options` outlives the command.
void add_names(CLI::App& command, RunOptions& options) {
  command.add_option("--service", options.service, "the service that it serves; made if no manifest declares it")
      ->check(a_name())
      ->type_name("NAME");
  command.add_option("--namespace,-n", options.ns, "the namespace")
      ->check(a_name())
      ->capture_default_str()
      ->type_name("NAME");
  command.add_option("--name", options.name, "its own name (default: made from the service's)")
      ->check(a_name())
      ->type_name("NAME");
  command.add_option("--service-account", options.service_account, "whose identity it has (default: default)")
      ->check(a_name())
      ->type_name("NAME");
}

constexpr const char* kHelp =
    R"(Runs a program as a workload of a local mesh: in a pod of its own, with its proxy beside it.

The program needs no setting: it listens where it always does (any port, also below 1024), connects to
services by name, and its traffic is encrypted, balanced and counted on the way. It runs as you. Standard
input, output and error, signals and the exit code pass through; on SIGTERM the workload is taken out of
its service, finishes what it was asked, and is then stopped; a second SIGTERM stops it at once.

  tulle run --service api --port http=8080 -- python3 api.py
  tulle run -- curl http://api:8080/)";

constexpr const char* kFooter =
    R"(Exit code: the program's (128 + N where signal N ended it); 125 when tulle itself failed or was asked
wrongly, 126 when the program cannot be started, 127 when there is no such program.
Settings of the proxy (LINKERD2_PROXY_*, TULLE_PROXY_*) are taken from the environment.)";

}  // namespace

void add_run_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<RunOptions>();
  CLI::App& command = *app.add_subcommand("run", kHelp);
  command.footer(kFooter);
  add_mesh_option(command, context);
  add_names(command, *options);
  add_parsed(command, "--port", "a port that it serves, with its name, such as http=8080; may be repeated",
             [options](std::string_view t) -> Result<> {
               TULLE_TRY(NamedPort p, parse_port(t));
               options->ports.push_back(std::move(p));
               return {};
             })
      ->type_name("[NAME=]PORT");
  add_parsed(command, "--label", "a label, for selectors; may be repeated", [options](std::string_view t) -> Result<> {
    TULLE_TRY(auto label, parse_label(t));
    options->labels.push_back(std::move(label));
    return {};
  })->type_name("KEY=VALUE");
  command
      .add_option("--ready-path", options->ready_path,
                  "ready while GET PATH on the first port is answered with 2xx or 3xx (default: once every port is "
                  "listened on)")
      ->type_name("PATH");
  add_parsed(command, "--expose",
             "lets the host reach a port of the pod, past the mesh; host port 0: a free one, which is printed; may be "
             "repeated",
             [options](std::string_view t) -> Result<> {
               TULLE_TRY(Expose e, parse_expose(t));
               options->exposes.push_back(e);
               return {};
             })
      ->type_name("[ADDRESS:]HOST_PORT:POD_PORT");
  add_parsed(command, "--host", "lets the pod reach a port of the host's loopback as host:PORT; may be repeated",
             [options](std::string_view t) -> Result<> {
               TULLE_TRY(uint16_t port, parse_host_port(t));
               options->host_ports.push_back(port);
               return {};
             })
      ->type_name("PORT");
  add_parsed(command, "--grace", "from SIGTERM until it is killed, such as 30s (the default)",
             [options](std::string_view t) -> Result<> {
               TULLE_TRY(options->grace, parse_duration(t));
               return {};
             })
      ->type_name("DURATION");
  command.add_option("--proxy", options->proxy, "the proxy to run (default: tulle-proxy beside this program)")
      ->type_name("PROGRAM");
  command.add_option("--proxy-log", options->proxy_log, "where the proxy writes (default: standard error)")
      ->type_name("FILE");
  command.add_option("command", options->command, "the program and its arguments")->required()->type_name("COMMAND");
  command.prefix_command();
  command.callback([&command, options, &context] {
    if (options->command.empty()) options->command = command.remaining();
    options->mesh = context.mesh;
    auto code = run(*options);
    context.exit_code = code ? *code : (report(code.error()), kExitOwnFailure);
  });
}

}  // namespace tulle::cli
