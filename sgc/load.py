from sgc.loading import *  # temporary, to be removed
from sgc.loading import load  # noqa
