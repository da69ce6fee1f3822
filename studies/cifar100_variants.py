# Variants of WKD-L on CIFAR-100, wrn_16_4 to wrn_10_2, as in cifar100.py: what makes it better?
#
# All are exploratory. What wins on the images of the search becomes an option to recommend, and a
# default only where the test images of the final seeds agree.
#
# Command: python tools/compare.py studies/cifar100_variants.py
# Needs:   data/cifar100
_base_ = '_base_/cifar100.py'

commit = None  # PowerCost is younger than the commit of cifar100.py: named before the first run
title = 'CIFAR-100, variants of WKD-L, 450 images a class'
seeds = [1, 2, 3]
length = 6
search = dict(length=3, check=dict(factors=2))
references = ['wkd_l']
records = 'studies/results/cifar100_variants'

_loss = 'model.distill.loss_wkd_l.loss'
_logits = {
    'model.teacher.checkpoint': 'studies/results/cifar100/teacher.pth',
    'train_dataloader.dataset.stored_teacher': 'data/teacher/cifar100_wrn_16_4',
}
_variants = dict(
    wkd_l=('WKD-L', {}),
    weighed=('x non-target mass', dict(weigh_by_non_target=True)),
    debiased=('debiased', dict(debiased=True)),
    standardized=('standardised logits', dict(standardize=True, temperature=2.0)),
    joint=('joint form', dict(separated=False, transport_weight=10.0)),
    temperature_2=('temperature 2', dict(temperature=2.0)),
    sharpness_2=('sharpness 2', dict(sharpness=2.0)),
    centred=('centred rows', {'cost.center': True}),
    # More contrast: costs that act less like a constant one.
    distances=('distances as they are', dict(sharpness=0.0)),
    power_4=(
        'distances to the power of 4',
        dict(
            sharpness=0.0,
            cost=dict(_delete_=True, type='PowerCost', cost=dict(type='ClassifierCost'), power=4.0),
        ),
    ),
    constant=('constant cost', dict(cost=dict(_delete_=True, type='ConstantCost'))),
)
methods = {
    name: dict(
        title=title,
        config='configs/classification/cifar100/wkd-l_wrn_16_4-to-wrn_10_2_short.py',
        overrides={**_logits, **{f'{_loss}.{key}': value for key, value in options.items()}},
        weight=f'{_loss}.transport_weight',
    )
    for name, (title, options) in _variants.items()
}
