#pragma once
skip 4;
