# Writes OUT, a C file that defines the bytes of the file IN: NAME[] and NAME_n, as the header HEADER declares them.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "#include \"${HEADER}\"\n\nconst uint8_t ${NAME}[] = {\n${bytes}};\nconst size_t ${NAME}_n = sizeof(${NAME});\n")
