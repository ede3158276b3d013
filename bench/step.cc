// Counts what a thread executes, instruction by instruction, for machines without hardware counters:
//   bench_step TID        steps the thread from now until it is idle after SIGTERM; "ready" on standard output when it
//   has begun
// Turns of an event loop that a timer began are left out. Then prints `ADDRESS COUNT` of each instruction that ran, in
// hex and decimal, and `syscall NUMBER COUNT`. Slow (10 µs and more an instruction), exact, and no debugger's rights
// are needed for one's own children.
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#if defined(__x86_64__)
namespace {

volatile sig_atomic_t ended = 0;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "bench_step: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

// Waits for the thread to stop; false: it waits for an event (`idle`), and SIGTERM came first.
bool wait_stop(pid_t tid, bool idle, int& status) {
  while (waitpid(tid, &status, __WALL) < 0) {
    if (errno != EINTR) die("waitpid");
    if (ended && idle) return false;
  }
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    std::fprintf(stderr, "bench_step: the thread has ended\n");
    std::exit(1);
  }
  return true;
}

// What ran, but for the turns of an event loop that only a timer began: they come with time, not with work.
class Counts {
 public:
  explicit Counts(pid_t tid) : tid_(tid) {}

  // The thread is stopped before its next instruction.
  void next() {
    long at = peek(offsetof(user_regs_struct, rip));
    if (waited_) begin_turn();
    auto [site, fresh] = is_syscall_.try_emplace(at);
    if (fresh) site->second = (ptrace(PTRACE_PEEKTEXT, tid_, at, nullptr) & 0xffff) == 0x050f;
    turn_.push_back(at);
    if (!site->second) return;
    long number = peek(offsetof(user_regs_struct, rax));
    turn_syscalls_.push_back(number);
    waited_ = number == 232 || number == 281 || number == 441;  // epoll_wait, epoll_pwait, epoll_pwait2
  }

  // The next instruction is the system call that ends a turn.
  bool at_wait() const { return waited_; }

  void print() {
    begin_turn();
    for (auto& [at, count] : instructions_) std::printf("%lx %zu\n", at, count);
    for (auto& [number, count] : syscalls_) std::printf("syscall %ld %zu\n", number, count);
  }

 private:
  long peek(size_t offset) { return ptrace(PTRACE_PEEKUSER, tid_, offset, nullptr); }

  // Called after a wait; what it says is in rax.
  void begin_turn() {
    if (counted_) {
      for (long at : turn_) ++instructions_[at];
      for (long number : turn_syscalls_) ++syscalls_[number];
    }
    turn_.clear();
    turn_syscalls_.clear();
    counted_ = waited_ && peek(offsetof(user_regs_struct, rax)) > 0;
    waited_ = false;
  }

  pid_t tid_;
  bool counted_ = false, waited_ = false;
  std::vector<long> turn_, turn_syscalls_;
  std::unordered_map<long, bool> is_syscall_;
  std::unordered_map<long, size_t> instructions_;
  std::map<long, size_t> syscalls_;
};

// Out of a wait that a step is in: the trap of the step is still to come, and would end the process without us.
void leave(pid_t tid) {
  int status = 0;
  ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr);
  while (waitpid(tid, &status, __WALL) < 0 && errno == EINTR) {
  }
  if (ptrace(PTRACE_SINGLESTEP, tid, nullptr, nullptr) == 0)
    while (waitpid(tid, &status, __WALL) < 0 && errno == EINTR) {
    }
  ptrace(PTRACE_DETACH, tid, nullptr, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: bench_step TID\n"), 2;
  pid_t tid = std::atoi(argv[1]);
  struct sigaction on_term{};
  on_term.sa_handler = [](int) { ended = 1; };
  sigaction(SIGTERM, &on_term, nullptr);  // no SA_RESTART: it ends waitpid
  if (ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0) die("ptrace");
  if (ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0) die("ptrace");
  int status = 0;
  if (!wait_stop(tid, true, status)) return 1;
  std::printf("ready\n");
  std::fflush(stdout);
  Counts counts(tid);
  int signal = 0;
  while (counts.next(), !(ended && counts.at_wait())) {
    if (ptrace(PTRACE_SINGLESTEP, tid, nullptr, signal) != 0) die("step");
    if (!wait_stop(tid, counts.at_wait(), status)) return leave(tid), counts.print(), 0;
    signal = WSTOPSIG(status) == SIGTRAP || status >> 16 ? 0 : WSTOPSIG(status);
  }
  ptrace(PTRACE_DETACH, tid, nullptr, nullptr);
  counts.print();
}
#else
int main() {
  std::fprintf(stderr, "bench_step: only for x86-64\n");
  return 1;
}
#endif
