// In the programs of builds with sanitizers, and nowhere else: the proxy of a pod gets a clean environment, so that
// ASAN_OPTIONS and the like never reach it. Reports go to files of the build folder, where tests/run.py looks.
// Freed memory soon goes back to the system (less of it is watched), for the suites have bounds on memory.
#define TULLE_COMMON "log_path=" TULLE_REPORTS "/report:"

extern "C" {
const char* __asan_default_options();
const char* __tsan_default_options();
const char* __asan_default_options() {
  return TULLE_COMMON
      "detect_leaks=1:quarantine_size_mb=8:thread_local_quarantine_size_kb=64:allocator_release_to_os_interval_ms=200";
}
const char* __tsan_default_options() { return TULLE_COMMON "second_deadlock_stack=1"; }
}
