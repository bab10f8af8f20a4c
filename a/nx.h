skip 2;
#include_next <nx.h>
