# Weights by gradients on CIFAR-100: shares of the task's gradient that nobody has searched, against
# the weights that the search of cifar100.py has tried. Exploratory.
#
# As trials of that search: 3 epochs, its seed, the images of the search, the learning rate of the
# configs; so its records are the other side of the comparison.
#
# Written before the runs: a share of 0.5, the same for all four methods, comes within 1 point of
# the best weight that the search has tried at this learning rate. Refuted if it does not in one of
# them. (It was, by the first run: 40.5 % with WKD-F, where a weight reached 50.6. The shares of 2
# and 8 were put in the place of 0.2 and 1 then.)
#
# Command: python tools/compare.py studies/cifar100_shares.py
# Needs:   data/cifar100 (the archive, or cifar100.npz), studies/results/cifar100/teacher.pth
_base_ = '_base_/cifar100_arms.py'

title = 'Weights by gradients on CIFAR-100, 3 epochs, images of the search'
commit = '8ec97cee5f10e93aa766bba2b914f620094daa94'
seeds = [101]
length = 3
search = None
references = []
records = 'studies/results/cifar100_shares'

_weight = 'model.distill.loss_{}.loss.loss_weight'
methods = dict(
    _delete_=True,
    **{
        f'{_name}_{str(_share).replace(".", "_")}': dict(
            title=f'{_base_.methods[_name].title}, share {_share}',
            config=_base_.methods[_name].config,
            overrides={
                **_base_.methods[_name].overrides,
                **_base_.search.overrides,
                _weight.format(_name): dict(
                    type='GradientShare',
                    share=_share,
                    # In place of the number that a config has; that of WKD-L has none.
                    **(dict() if _name == 'wkd_l' else dict(_delete_=True)),
                ),
            },
        )
        for _share in (0.5, 2.0, 8.0)
        for _name in ('wkd_f', 'kd', 'wkd_l', 'fitnet')
    },
)
