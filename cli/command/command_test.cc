// Everything of the commands that needs no mesh: paths, processes, the API's answers, and the commands themselves where
// there is none.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/command/api.h"
#include "cli/command/commands.h"
#include "cli/command/daemon.h"
#include "cli/command/local_mesh.h"
#include "cli/command/mesh_paths.h"
#include "control/source/manifest.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    char path[] = "/tmp/tulle-test-XXXXXX";
    path_ = ::mkdtemp(path);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(std::string_view name) const { return cat(path_, '/', name); }
  std::string write(std::string_view name, std::string_view text) const {
    std::ofstream(*this / name) << text;
    return *this / name;
  }

 private:
  std::string path_;
};

// Runs `tulle WORDS` and returns its exit code and what it wrote to standard output and error.
struct Ran {
  int code;
  std::string out, err;
};
Ran run(std::vector<std::string> words) {
  CLI::App app;
  Context context;
  for (auto add : {add_up_command, add_down_command, add_validate_command, add_get_command, add_stat_command,
                   add_edges_command, add_diagnostics_command})
    add(app, context);
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  std::ranges::reverse(words);
  try {
    app.parse(words);
  } catch (const CLI::ParseError& e) {
    context.exit_code = e.get_exit_code() == 0 ? kExitOk : kExitUsage;
  }
  Ran result{context.exit_code, "", ""};
  result.out = ::testing::internal::GetCapturedStdout();
  result.err = ::testing::internal::GetCapturedStderr();
  return result;
}

TEST(MeshPaths, FromTheEnvironment) {
  std::map<std::string, std::string> vars{{"XDG_RUNTIME_DIR", "/run/user/7"}, {"HOME", "/u/x"}};
  auto env = [&](const char* key) { return vars[key]; };
  MeshPaths paths = mesh_paths("local", 7, env).value();
  EXPECT_EQ(paths.socket, "/run/user/7/tulle/local/control.sock");
  EXPECT_EQ(paths.state, "/u/x/.local/state/tulle/local");
  vars = {{"XDG_STATE_HOME", "/var/s"}};
  paths = mesh_paths("a-1", 7, env).value();
  EXPECT_EQ(paths.runtime, "/tmp/tulle-7/a-1");
  EXPECT_EQ(paths.state, "/var/s/tulle/a-1");
  for (std::string_view bad : {"", "A", "a/b", "..", "-a", "a-", "a b"}) EXPECT_FALSE(mesh_paths(bad, 7, env)) << bad;
  vars["XDG_RUNTIME_DIR"] = "/" + std::string(100, 'x');
  EXPECT_EQ(mesh_paths("local", 7, env).error().code, Code::kTooLarge);
  vars = {};
  EXPECT_FALSE(mesh_paths("local", 7, env));
}

TEST(MeshPaths, PrivateFolders) {
  Folder folder;
  EXPECT_TRUE(make_private_folder(folder / "a/b"));
  struct stat st{};
  ASSERT_EQ(::stat((folder / "a/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
  EXPECT_TRUE(make_private_folder(folder / "a/b"));
  ASSERT_EQ(::chmod((folder / "a/b").c_str(), 0777), 0);
  EXPECT_FALSE(make_private_folder(folder / "a/b"));
  fs::create_directory_symlink(folder / "a", folder / "link");
  EXPECT_FALSE(make_private_folder(folder / "link"));
}

TEST(Daemon, IsStartedFoundAndEnded) {
  Folder folder;
  auto process = start_daemon({{"/bin/sh", "-c", "echo hello; exec sleep 1000"}, folder / "log", true});
  ASSERT_TRUE(process) << process.error().reason;
  EXPECT_TRUE(is_alive(*process));
  std::string pid_file = folder.write("pid", process->to_string());
  EXPECT_EQ(read_pid_file(pid_file), *process);
  // A later process with that pid is another one.
  folder.write("pid", ProcessId{process->pid, process->started + 1}.to_string());
  EXPECT_EQ(read_pid_file(pid_file), std::nullopt);
  EXPECT_TRUE(end_process({process->pid, process->started + 1}, 1s));
  EXPECT_TRUE(is_alive(*process));
  EXPECT_TRUE(end_process(*process, 5s));
  EXPECT_FALSE(is_alive(*process));
}

// Waits until a log has its first words, which its program writes once it is ready; at most 10 s.
bool said_something(const std::string& log) {
  Fd watch(::inotify_init1(IN_CLOEXEC));
  ::inotify_add_watch(watch.get(), log.c_str(), IN_MODIFY);
  pollfd p{watch.get(), POLLIN, 0};
  return !log_tail(log, 1).empty() || ::poll(&p, 1, 10'000) == 1;
}

TEST(Daemon, OneThatWillNotEndIsKilled) {
  Folder folder;
  auto process =
      start_daemon({{"/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"}, folder / "log", true});
  ASSERT_TRUE(process);
  ASSERT_TRUE(said_something(folder / "log"));
  EXPECT_FALSE(end_process(*process, 50ms));
  EXPECT_FALSE(is_alive(*process));
}

TEST(Daemon, SaysWhatCannotBeStarted) {
  Folder folder;
  EXPECT_NE(start_daemon({{"/nonexistent"}, folder / "log", true}).error().reason.find("No such file"),
            std::string::npos);
  EXPECT_EQ(ProcessId::parse("12"), std::nullopt);
  EXPECT_EQ(ProcessId::parse("0 5"), std::nullopt);
  EXPECT_EQ(ProcessId::parse("-1 5"), std::nullopt);
}

TEST(Daemon, LogTail) {
  Folder folder;
  EXPECT_EQ(log_tail(folder.write("log", "a\nb\nc\n"), 2), "b\nc\n");
  EXPECT_EQ(log_tail(folder.write("log", "a\nb\nc\n"), 9), "a\nb\nc\n");
  EXPECT_EQ(log_tail(folder / "none", 2), "");
}

TEST(Api, Pods) {
  auto pods = parse_pods(R"({"items":[
      {"metadata":{"namespace":"default","name":"api-1","labels":{"app":"api","linkerd.io/control-plane-ns":"linkerd"},
                   "annotations":{"tulle.dev/service":"api"}},
       "spec":{"serviceAccountName":"api"},
       "status":{"podIP":"127.64.0.2","conditions":[{"type":"Ready","status":"True"}]}},
      {"metadata":{"namespace":"other","name":"x"}, "spec": 5}]})",
                         R"({"items":[
      {"metadata":{"namespace":"default","name":"api-v1"},"spec":{"selector":{"app":"api"}}},
      {"metadata":{"namespace":"default","name":"none"},"spec":{"selector":{}}},
      {"metadata":{"namespace":"other","name":"api-v2"},"spec":{"selector":{"app":"api"}}}]})");
  ASSERT_TRUE(pods) << pods.error().reason;
  ASSERT_EQ(pods->size(), 2u);
  const PodInfo& pod = (*pods)[0];
  EXPECT_EQ(pod.services, (std::vector<std::string>{"api", "api-v1"}));
  EXPECT_EQ(pod.workload(), "api");
  EXPECT_EQ(pod.ip, "127.64.0.2");
  EXPECT_TRUE(pod.ready);
  EXPECT_TRUE(pod.meshed);
  EXPECT_EQ((*pods)[1].workload(), "x");
  EXPECT_FALSE((*pods)[1].ready);
  EXPECT_FALSE((*pods)[1].meshed);
  for (std::string_view bad : {"", "[]", "{", "{\"items\":{}}"}) EXPECT_FALSE(parse_pods(bad, "{\"items\":[]}")) << bad;
  EXPECT_EQ(url_escape("a.b:80/ü"), "a.b%3A80%2F%C3%BC");
}

TEST(Api, Ended) {
  auto ended = parse_ended(R"({"items":[{"namespace":"a","name":"b","service":"c","service_account":"d"},5]})");
  ASSERT_TRUE(ended);
  EXPECT_EQ((*ended)[0].ns, "a");
  EXPECT_EQ((*ended)[0].name, "b");
  EXPECT_EQ((*ended)[0].service, "c");
  EXPECT_EQ((*ended)[0].service_account, "d");
  EXPECT_EQ((*ended)[1].name, "");
  EXPECT_FALSE(parse_ended("[]"));
}

TEST(Api, Problems) {
  auto problems =
      parse_problems(R"({"items":[{"severity":"warning","file":"a.yaml","line":3,"message":"m"},{"line":"x"}]})");
  ASSERT_TRUE(problems);
  ASSERT_EQ(problems->size(), 2u);
  EXPECT_EQ((*problems)[0].line, 3);
  EXPECT_FALSE((*problems)[0].is_error());
  EXPECT_TRUE((*problems)[1].is_error());
  EXPECT_FALSE(parse_problems("{}"));
}

TEST(Commands, SayThatTheMeshIsNotUp) {
  Folder folder;
  ::setenv("XDG_RUNTIME_DIR", (folder / "run").c_str(), 1);
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{{"get", "pods"},
                                                                              {"stat"},
                                                                              {"edges"},
                                                                              {"diagnostics", "endpoints", "a:80"},
                                                                              {"diagnostics", "policy", "svc/a/b:80"},
                                                                              {"diagnostics", "proxy-metrics"},
                                                                              {"validate"}}) {
    words.insert(words.end(), {"--mesh", "nobody"});
    Ran result = run(words);
    EXPECT_EQ(result.code, kExitNoMesh) << words[0];
    EXPECT_NE(result.err.find("tulle up --mesh nobody"), std::string::npos) << result.err;
    EXPECT_EQ(result.out, "");
  }
  Ran down = run({"down", "--mesh", "nobody"});
  EXPECT_EQ(down.code, kExitOk);
  EXPECT_EQ(down.out, "Mesh nobody was not up.\n");
  ::unsetenv("XDG_RUNTIME_DIR");
}

TEST(Commands, RefuseWhatIsAskedWrongly) {
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{{"stat", "-t", "5"},
                                                                              {"stat", "-t", "1ms"},
                                                                              {"stat", "-o", "yaml"},
                                                                              {"edges", "nodes"},
                                                                              {"get"},
                                                                              {"get", "nonsense"},
                                                                              {"get", "pods", "-n", "A_"},
                                                                              {"up", "--default-inbound-policy", "x"},
                                                                              {"up", "--log-level", "x"},
                                                                              {"up", "--identity-lifetime", "1s"},
                                                                              {"up", "--dir", "/dev/null"},
                                                                              {"get", "pods", "--mesh", "A/B"},
                                                                              {"diagnostics"}})
    EXPECT_EQ(run(words).code, kExitUsage) << words[0];
}

TEST(Validate, GoodAndBad) {
  Folder folder;
  constexpr std::string_view kService =
      "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: default}\nspec:\n  ports: [{port: PORT}]\n";
  auto manifest = [&](std::string_view name, std::string_view port) {
    std::string text(kService);
    return folder.write(name, text.replace(text.find("PORT"), 4, port));
  };
  std::string good = manifest("good.yaml", "80"), bad = manifest("bad.yaml", "99999");
  Ran result = run({"validate", good});
  EXPECT_EQ(result.code, kExitOk);
  EXPECT_EQ(result.out, "1 resource in 1 file: 0 errors, 0 warnings\n");
  result = run({"validate", bad});
  EXPECT_EQ(result.code, kExitFailure);
  EXPECT_NE(result.out.find("bad.yaml:"), std::string::npos) << result.out;
  result = run({"validate", bad, "-o", "json"});
  EXPECT_EQ(result.code, kExitFailure);
  EXPECT_NE(result.out.find("{\"severity\": \"error\", \"file\": "), std::string::npos) << result.out;
  manifest("good2.yaml", "81");
  result = run({"validate", good, folder / "good2.yaml"});
  EXPECT_EQ(result.code, kExitFailure);
  EXPECT_NE(result.out.find("an earlier file has it too"), std::string::npos) << result.out;
  EXPECT_EQ(run({"validate", folder / "none.yaml"}).code, kExitFailure);
}

TEST(Validate, WarnsOfWhatARouteNamesAndNobodyDeclares) {
  Folder folder;
  std::string route = folder.write("route.yaml",
                                   "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
                                   "metadata: {name: r, namespace: default}\nspec:\n"
                                   "  parentRefs: [{group: \"\", kind: Service, name: api, port: 80}]\n"
                                   "  rules: [{backendRefs: [{name: v1, port: 81}]}]\n");
  Ran result = run({"validate", route});
  EXPECT_EQ(result.code, kExitOk);
  EXPECT_NE(
      result.out.find("route.yaml:1: HTTPRoute default/r: spec.parentRefs[0].name: there is no Service default/api"),
      std::string::npos)
      << result.out;
  EXPECT_NE(result.out.find("1 resource in 1 file: 0 errors, 2 warnings"), std::string::npos) << result.out;
  std::string services =
      folder.write("services.yaml",
                   "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {ports: [{port: 80}]}\n"
                   "---\n"
                   "apiVersion: v1\nkind: Service\nmetadata: {name: v1}\nspec: {ports: [{port: 80}]}\n");
  result = run({"validate", route, services});
  EXPECT_NE(result.out.find("spec.rules[0].backendRefs[0].port: Service default/v1 has no port 81"), std::string::npos)
      << result.out;
}

TEST(Example, ItsManifestsAreRightOnceUncommented) {
  EXPECT_TRUE(control::parse_manifest("example.yaml", example_manifest()).resources.empty());
  std::string text;
  bool inside = false;
  for (std::string_view line : split(example_manifest(), '\n')) {
    if (line.starts_with("# ---")) inside = true;
    if (line.empty()) inside = false;
    if (inside) append(text, line.substr(2), '\n');
  }
  control::Parsed parsed = control::parse_manifest("example.yaml", text);
  for (const control::Problem& p : parsed.problems) ADD_FAILURE() << p.to_string();
  EXPECT_EQ(parsed.resources.size(), 5u);
  Folder folder;
  EXPECT_EQ(run({"validate", folder.write("example.yaml", text)}).out, "5 resources in 1 file: 0 errors, 0 warnings\n");
}

TEST(Up, WhatARunningMeshDoesNotHave) {
  constexpr std::string_view kMesh =
      R"({"manifestFolder":"/m","defaultInboundPolicy":"all-unauthenticated","logLevel":"info",
          "certificateLifetimeSeconds":60})";
  EXPECT_TRUE(differences({}, kMesh, true).empty());
  Wishes same{"/m", "all-unauthenticated", "info", 1min, false, true};
  EXPECT_TRUE(differences(same, kMesh, false).empty());
  Wishes other{"/n", "deny", "debug", 30s, true, true};
  EXPECT_EQ(
      differences(other, kMesh, true),
      (std::vector<std::string>{"--dir /n: it reads /m", "--default-inbound-policy deny: it has all-unauthenticated",
                                "--log-level debug: it has info", "--identity-lifetime 30s: it has 60s",
                                "--foreground: it runs apart from this command", "--no-prometheus: it has one"}));
}

TEST(Up, AFailureLeavesNoFolder) {
  Folder folder;
  ::setenv("XDG_RUNTIME_DIR", (folder / "run").c_str(), 1);
  ::setenv("XDG_STATE_HOME", (folder / "state").c_str(), 1);
  // In the way of the folder of manifests stands a file.
  folder.write("file", "");
  Ran result = run({"up", "--mesh", "nobody", "--dir", folder / "file/mesh"});
  EXPECT_NE(result.code, kExitOk);
  EXPECT_FALSE(fs::exists(folder / "run/tulle"));
  EXPECT_FALSE(fs::exists(folder / "state/tulle"));
  ::unsetenv("XDG_RUNTIME_DIR");
  ::unsetenv("XDG_STATE_HOME");
}

TEST(Prometheus, Configuration) {
  EXPECT_EQ(targets_url(R"({"prometheusTargets":"http://127.0.0.1:5/x"})"), "http://127.0.0.1:5/x");
  EXPECT_EQ(targets_url("{}"), "");
  EXPECT_EQ(targets_url("nonsense"), "");
  EXPECT_NE(prometheus_config("http://127.0.0.1:5/x").find("- url: \"http://127.0.0.1:5/x\"\n"), std::string::npos);
}

}  // namespace
}  // namespace tulle::cli
