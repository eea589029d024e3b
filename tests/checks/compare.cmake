# cmake -DPRINT=program -DPAGE=settings -DFILE=docs/settings.md -P compare.cmake
execute_process(COMMAND ${PRINT} ${PAGE} OUTPUT_VARIABLE printed RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
  message(FATAL_ERROR "${PRINT} ${PAGE}: exit code ${rc}")
endif()
file(READ ${FILE} stored)
if(NOT printed STREQUAL stored)
  message(FATAL_ERROR "${FILE} is not what the program prints. Renew it: ang_print_reference ${PAGE} > ${FILE}")
endif()
