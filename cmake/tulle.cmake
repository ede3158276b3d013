# One library per folder: tulle_library(NAME [FAULTS] DEPS ... [PRIVATE ...]).
# All *.cc of the folder but tests, benches, fuzzers and main.cc belong to it; *_test.cc become NAME_test, *_bench.cc
# NAME_bench, *_fuzz.cc one fuzz target each. DEPS are our own libraries whose headers its headers may include;
# PRIVATE are third-party targets that only its .cc files see. FAULTS: its tests use connections; they run once more with
# sockets that read and write as little as they may (libs/net/testing/socket_faults.cc).
add_library(tulle_flags INTERFACE)
target_include_directories(tulle_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(tulle_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unused-parameter -Werror=return-type -Werror=unused-result -fno-omit-frame-pointer>)
if(TULLE_SANITIZE)
  target_compile_options(tulle_flags INTERFACE -fsanitize=${TULLE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(tulle_flags INTERFACE -fsanitize=${TULLE_SANITIZE})
endif()
if(TULLE_FUZZ)
  target_compile_options(tulle_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  target_link_options(tulle_flags INTERFACE -fsanitize=address,undefined)
endif()
if(TULLE_LTO)
  target_compile_options(tulle_flags INTERFACE -flto=thin)
  target_link_options(tulle_flags INTERFACE -flto=thin -Wl,--thinlto-jobs=all
    -Wl,--thinlto-cache-dir=${CMAKE_BINARY_DIR}/thinlto-cache
    # What nobody calls is left out (a good part of AWS-LC, protobuf and libstdc++): 1.1 MB less of the proxy is resident.
    -Wl,--gc-sections -Wl,--icf=safe)
endif()

add_custom_target(benches)  # all of them

function(tulle_library name)
  cmake_parse_arguments(A "FAULTS" "" "DEPS;PRIVATE" ${ARGN})
  file(GLOB all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "(_test|_bench|_fuzz|/main)\\.cc$")
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC tulle_flags ${A_DEPS} PRIVATE ${A_PRIVATE})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE tulle_flags ${A_DEPS})
  endif()

  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(tests AND NOT TULLE_FUZZ)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE ${name} ${A_PRIVATE} GTest::gmock GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name}_test --gtest_brief=1 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 RESOURCE_LOCK ${name}_test)
    if(A_FAULTS)
      target_sources(${name}_test PRIVATE ${CMAKE_SOURCE_DIR}/libs/net/testing/socket_faults.cc)
      add_test(NAME ${name}_with_faults COMMAND ${name}_test --gtest_brief=1 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
      set_tests_properties(${name}_with_faults PROPERTIES TIMEOUT 240 RESOURCE_LOCK ${name}_test ENVIRONMENT TULLE_TEST_FAULTS=1)
    endif()
  endif()
  set(benches ${all})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  if(benches AND benchmark_FOUND AND NOT TULLE_FUZZ)
    add_executable(${name}_bench EXCLUDE_FROM_ALL ${benches})
    target_link_libraries(${name}_bench PRIVATE ${name} benchmark::benchmark_main)
    add_dependencies(benches ${name}_bench)
  endif()
  # Fuzz targets: with TULLE_FUZZ under libFuzzer; otherwise a small program that, as a test, replays the
  # corpus and tries mutations of it for two seconds.
  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  foreach(source ${fuzzers})
    get_filename_component(fuzzer ${source} NAME_WE)
    add_executable(${fuzzer} ${source})
    target_link_libraries(${fuzzer} PRIVATE ${name} ${A_PRIVATE})
    if(TULLE_FUZZ)
      target_link_options(${fuzzer} PRIVATE -fsanitize=fuzzer)
    else()
      target_sources(${fuzzer} PRIVATE ${CMAKE_SOURCE_DIR}/fuzz/replay.cc)
      add_test(NAME ${fuzzer}_corpus COMMAND ${fuzzer} --mutate=2 ${CMAKE_SOURCE_DIR}/fuzz/corpus/${fuzzer})
    endif()
  endforeach()
endfunction()

# A program of ours, from main.cc of the current folder.
function(tulle_program name)
  cmake_parse_arguments(A "" "" "DEPS" ${ARGN})
  add_executable(${name} main.cc)
  target_link_libraries(${name} PRIVATE ${A_DEPS})
  if(TULLE_SANITIZE)
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/libs/base/testing/sanitizer_options.cc)
    set_source_files_properties(${CMAKE_SOURCE_DIR}/libs/base/testing/sanitizer_options.cc PROPERTIES
      COMPILE_DEFINITIONS "TULLE_REPORTS=\"${CMAKE_BINARY_DIR}/reports\"")
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/reports)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()
