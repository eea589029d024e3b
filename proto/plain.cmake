# Copies IN to OUT with every `optional T name = n;` as `oneof _name { T name = n; }`.
file(READ ${IN} text)
string(REGEX REPLACE "optional +([A-Za-z0-9_.]+) +([a-z0-9_]+)( *= *[0-9]+;)" "oneof _\\2 { \\1 \\2\\3 }" text "${text}")
get_filename_component(folder ${OUT} DIRECTORY)
file(MAKE_DIRECTORY ${folder})
file(WRITE ${OUT} "${text}")
