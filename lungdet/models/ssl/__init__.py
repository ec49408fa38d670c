from lungdet.models.ssl.genesis import GenesisPretrainer
from lungdet.models.ssl.mae import MaskedAutoencoder
from lungdet.models.ssl.restoration_head import RestorationHead

__all__ = ['GenesisPretrainer', 'MaskedAutoencoder', 'RestorationHead']
